"""Handles stop signals, however the runner was started."""

import os
import signal
import threading
from pathlib import Path
from time import sleep
from types import FrameType
from typing import Final

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS: Final = 0.5


class Stopped(BaseException):
    """A signal said to stop. Not an `Exception`: nothing but the runner may catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


_received: list[int] = []


def listen() -> None:
    """From now on the first signal raises `Stopped` in the main thread; later ones don't disturb the clean-up.

    A shell without job control starts background processes with SIGINT ignored, and some parents leave signals blocked:
    both are undone. SIGHUP stays ignored where `nohup` had it so.
    """
    for number in STOPPING:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        signal.signal(number, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def follow_make() -> None:
    """Stop when the `make` that started this is told to: it does not pass SIGINT on, and waits for this to end.

    Its first step then is to take its handler away, which Linux shows. A `make` that was started with SIGINT ignored
    never learns of one: SIGTERM, which it passes on, stops both.
    https://cgit.git.savannah.gnu.org/cgit/make.git/tree/src/commands.c: fatal_error_signal
    """
    parent = os.getppid()
    if "MAKELEVEL" in os.environ and _waits(parent):
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent and _waits(parent):
        sleep(_SECONDS)
    os.kill(os.getpid(), signal.SIGINT)


def _waits(pid: int) -> bool:
    """Whether it is a `make` with its handler for SIGINT: https://man7.org/linux/man-pages/man5/proc_pid_status.5.html."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
    except OSError:
        return False
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return fields["Name"].strip() in {"make", "gmake"} and bool(int(fields["SigCgt"], 16) >> (signal.SIGINT - 1) & 1)


def ignore() -> None:
    """Ignore signals while the rest is done, which is short and must not be interrupted."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise `Stopped` once more if a signal has come: Python drops an exception that is raised inside a finalizer."""
    if _received:
        raise Stopped(_received[0])


def _stop(number: int, _frame: FrameType | None) -> None:
    ignore()
    _received.append(number)
    raise Stopped(number)
