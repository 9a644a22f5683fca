"""`python -m local run` runs the stack until Ctrl-C. `python -m local demo` sends a request per topic, then stops."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Final

from cli.encoding import replace_unknown_characters
from local import signals
from local.cloud import isolate
from local.console import serving as console
from local.demo import demonstrate
from local.deploy import ROOT
from local.errors import LocalFailure
from local.run_directory import locked, published
from local.signals import Stopped
from local.stack import Stack, running

DIRECTORY: Final = ROOT / ".local"
STANDARD_OUTPUT: Final = 1


def print_line(text: str) -> None:
    """Print a line, or nothing if standard output is closed, for example because the reader of a pipe has ended."""
    try:
        print(text, flush=True)
    except OSError:
        # At its exit, Python would write the text again, fail, and exit with status 120.
        _redirect_to_null(STANDARD_OUTPUT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. The result is the exit status."""
    options = _parser().parse_args(arguments)
    replace_unknown_characters()
    signals.listen()
    signals.follow_make()
    isolate()
    serving = False
    try:
        with (
            locked(options.directory),
            running(options.directory, dict(options.context), print_line) as stack,
            console.serving(stack) as console_url,
            published(options.directory, {**stack.document(), "console_url": console_url}),
        ):
            try:
                demonstrate(stack, print_line)
                if options.command == "run":
                    _print_addresses(stack, console_url, options.directory)
                    serving = True
                    _serve(stack)
            finally:
                signals.ignore()
    except LocalFailure as error:
        with suppress(OSError):
            print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except Stopped as stopped:
        print_line("Stopped.")
        return 0 if serving else stopped.exit_status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=("run", "demo"))
    parser.add_argument(
        "-c", "--context", action="append", default=[], type=_pair, metavar="KEY=VALUE", help="CDK context; repeatable"
    )
    parser.add_argument("--directory", type=_absolute, default=DIRECTORY, help="for stack.json, logs and the template")
    return parser


def _serve(stack: Stack) -> None:
    while True:
        stack.cloud.check()
        signals.check()
        sleep(1)


def _absolute(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the directory's name is empty")
    return Path(text).absolute()


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    return key, value


def _redirect_to_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def _print_addresses(stack: Stack, console_url: str, directory: Path) -> None:
    print_line(
        f"""
Console, to watch requests and inject faults: {console_url}

The stack is running. {directory / "stack.json"} contains its addresses and keys for scripts.

  URL  {stack.api_url}
  key  {stack.api_key}

  curl -i '{stack.api_url}/assistance-requests' \\
    -H 'x-api-key: {stack.api_key}' -H 'Content-Type: application/json' \\
    -d '{{"topic": "{stack.topics()[0]}", "description": "Hello"}}'

Ctrl-C stops the stack; from another terminal, kill {os.getpid()} does."""
    )
