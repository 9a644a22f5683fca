"""Handles the signals that stop the local stack: SIGINT, SIGTERM and SIGHUP."""

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
    """A signal has asked to stop. It is not an `Exception`, so that only `main` catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


_received: list[int] = []


def listen() -> None:
    """Let the first signal raise `Stopped` in the main thread, and ignore later ones, so that the clean-up completes.

    A shell without job control starts background processes with SIGINT ignored, and some parents block signals. This
    function undoes the ignoring and the blocking. It leaves SIGHUP ignored if the parent chose that, as `nohup` does.
    """
    for number in STOPPING:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        signal.signal(number, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def follow_make() -> None:
    """Stop when the `make` that started this process gets SIGINT, because `make` does not pass SIGINT on.

    After a SIGINT, `make` first removes its signal handler. Linux shows the handler in /proc, where a thread of this
    process watches it. A `make` that was started with SIGINT ignored gets no SIGINT; SIGTERM, which `make` passes on,
    then stops both processes.
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
    """Whether the process is a `make` that still has a handler for SIGINT.

    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
    except OSError:
        return False
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return fields["Name"].strip() in {"make", "gmake"} and bool(int(fields["SigCgt"], 16) >> (signal.SIGINT - 1) & 1)


def ignore() -> None:
    """Ignore signals from now on, so that they can't interrupt the clean-up, which is short."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise `Stopped` again if a signal has come: Python drops the first `Stopped` if a finalizer was running."""
    if _received:
        raise Stopped(_received[0])


def _stop(number: int, _frame: FrameType | None) -> None:
    ignore()
    _received.append(number)
    raise Stopped(number)
