"""Waits until a condition becomes true, with a deadline."""

from collections.abc import Callable
from time import monotonic, sleep
from typing import Final, TypeVar

from local import signals
from local.errors import NotInTime

T = TypeVar("T")
INTERVAL_SECONDS: Final = 0.05


def until(what: str, seconds: float, look: Callable[[], T | None]) -> T:
    """Call `look` until its result is not None, and return that. Raises `NotInTime`, with `what`, after `seconds`."""
    deadline = monotonic() + seconds
    while (found := look()) is None:
        signals.check()
        if monotonic() > deadline:
            raise NotInTime(f"{what}: not within {seconds:.0f} seconds.")
        sleep(INTERVAL_SECONDS)
    return found
