"""`python -m local run` and `python -m local demo`: see `make run` and `make demo`."""

import argparse
import shlex
import signal
import sys
import threading
from types import FrameType

from local.cloud import CloudDied
from local.demo import DemoFailed, show
from local.deploy import DeployFailed
from local.stack import AlreadyRunning, LocalStack, started
from local.wait import TimedOut

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asks to stop. Not an `Exception`, so that nothing on the way up takes it for one."""


def _stop(number: int, _: FrameType | None) -> None:
    for each in SIGNALS:
        # Once is enough: a second Ctrl-C must not cut the cleaning up short.
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(signal.Signals(number).name)


def _context(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("write it as key=value")
    return key, value


def _invite(local: LocalStack) -> None:
    body = '{"topic": "sales", "description": "Can somebody call me?"}'
    print(f"\nAPI      {local.api_url}/assistance-requests")
    print(f"Key      {local.api_key}")
    print("\nTry it:")
    print(f"  curl {shlex.quote(local.api_url + '/assistance-requests')} \\")
    print(f"    -H 'x-api-key: {local.api_key}' -H 'content-type: application/json' \\")
    print(f"    -d {shlex.quote(body)}")
    print("\nCtrl-C stops everything.", flush=True)


def main() -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole stack on this machine.")
    parser.add_argument("command", choices=("run", "demo"))
    parser.add_argument("--context", "-c", type=_context, action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    # Explicitly: a shell starts background jobs with SIGINT ignored.
    for number in SIGNALS:
        signal.signal(number, _stop)
    try:
        with started(dict(arguments.context)) as local:
            show(local)
            if arguments.command == "run":
                _invite(local)
                threading.Event().wait()
    except Stopped:
        print("\nStopped.")
        return 0 if arguments.command == "run" else 130
    except (AlreadyRunning, CloudDied, DemoFailed, DeployFailed, TimedOut) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
