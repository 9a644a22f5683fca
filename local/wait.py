"""Waits until a condition becomes true, with a deadline."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Final, TypeVar

from local import signals
from local.errors import DeadlineExceeded

T = TypeVar("T")
INTERVAL_SECONDS: Final = 0.05


def until(what: str, seconds: float, check: Callable[[], T | None]) -> T:
    """Call `check` until its result is not None, and return the result.

    Raises `DeadlineExceeded`, whose text contains `what`, after `seconds`.
    """
    deadline = monotonic() + seconds
    while (found := check()) is None:
        signals.check()
        if monotonic() > deadline:
            raise DeadlineExceeded(f"{what}: not within {seconds:.0f} seconds.")
        sleep(INTERVAL_SECONDS)
    return found
