"""Runs `make soak`: checks the huge worlds, one per process, and reports the progress."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.pool import IMapIterator
from typing import Final

from tests.model.walk import Walk, walk
from tests.model.world import digest_of
from tests.model.worlds import HUGE

MOST: Final = int(os.environ.get("SOAK_STATES", "5_000_000"))
"""Maximum states to visit of a world, at some 400 bytes each. A check that stops there has checked each invariant in
these states, but not that each of them can lead to a finished state."""
SECONDS: Final = 5
NAMES: Final = tuple(HUGE)

# The numbers of states found and of states still to visit, by world. Each process writes those of its worlds.
_found, _waiting = (multiprocessing.RawArray("q", len(NAMES)) for _ in range(2))


def walked(number: int) -> tuple[int, Walk]:
    """Check the huge world with this number, in a separate process. Returns the number and the result."""

    def report_progress(found: int, waiting: int) -> None:
        _found[number], _waiting[number] = found, waiting

    return number, walk(HUGE[NAMES[number]], most=MOST, key=digest_of, report_progress=report_progress)


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C in this process: the parent, which gets it too, ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _report(began: float, done: Sequence[int]) -> None:
    seconds, states = time.monotonic() - began, sum(_found)
    walking = ", ".join(name for number, name in enumerate(NAMES) if _found[number] and number not in done)
    rate = states / max(seconds, 1)
    waiting = f"{sum(_waiting):,} wait"
    _say(f"{seconds:6,.0f} s: {states:,} states, {rate:,.0f}/s, {waiting}; walking: {walking or 'none'}")


def _results(walks: "IMapIterator[tuple[int, Walk]]") -> bool:
    """Print each result as it comes. Returns whether every invariant holds."""
    began, done, holds = time.monotonic(), list[int](), True
    _report(began, done)
    while len(done) < len(NAMES):
        try:
            number, found = walks.next(timeout=SECONDS)
        except multiprocessing.TimeoutError:
            _report(began, done)
            continue
        done.append(number)
        _waiting[number] = 0
        holds = holds and not found.wrong
        cut = "" if found.complete else f" (cut at {MOST:,} states)"
        _say(f"{NAMES[number]}: {found}{cut}")
    _report(began, done)
    return holds


def main() -> int:
    """Check every huge world. Returns the exit status: 0 if all invariants hold, else 1; 130 after Ctrl-C."""
    # Forked processes share the arrays.
    context = multiprocessing.get_context("fork")
    with context.Pool(initializer=_ignore_interrupts, maxtasksperchild=1) as pool:
        try:
            return 0 if _results(pool.imap_unordered(walked, range(len(NAMES)))) else 1
        except KeyboardInterrupt:
            _say(f"interrupted after {sum(_found):,} states")
            return 130


if __name__ == "__main__":
    sys.exit(main())
