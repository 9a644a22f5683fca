"""Waiting with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
INTERVAL_SECONDS = 0.1


class TimedOut(Exception):
    """What was waited for did not happen in time; the message says what."""


def until(probe: Callable[[], T | None], *, seconds: float, what: str) -> T:
    """Call the probe until it returns something true, and return that. Raises `TimedOut`."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise TimedOut(f"{what}: not within {seconds:.0f} s")
        time.sleep(INTERVAL_SECONDS)
    return found
