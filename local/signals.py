"""Being told to stop, however the runner was started."""

import signal
from types import FrameType
from typing import Final

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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


def ignore() -> None:
    """What is left to do is short, and must not be interrupted."""
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
