"""Waits until a condition becomes true, with a deadline."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Final, TypeVar

from local import signals
from local.errors import DeadlineExceeded

T = TypeVar("T")
SHORTEST_INTERVAL_SECONDS: Final = 0.05
LONGEST_INTERVAL_SECONDS: Final = 0.5


def until(what: str, seconds: float, check: Callable[[], T | None]) -> T:
    """Call `check` until its result is not None, and return the result.

    The pauses between calls grow with the time that has passed, so that a long wait costs little processor time.

    Raises `DeadlineExceeded`, whose text contains `what`, after `seconds`.
    """
    start = monotonic()
    while (found := check()) is None:
        signals.check()
        if (waited := monotonic() - start) > seconds:
            raise DeadlineExceeded(f"{what}: not within {seconds:.0f} seconds.")
        sleep(min(max(waited / 20, SHORTEST_INTERVAL_SECONDS), LONGEST_INTERVAL_SECONDS))
    return found
