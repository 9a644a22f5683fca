"""Builds commands that an operator can paste: with the stack, region and profile of the current run."""

import shlex
from contextvars import ContextVar
from typing import Final

_OPTIONS: Final[ContextVar[tuple[str, ...]]] = ContextVar("options", default=())


def remember(*options: str) -> None:
    """Keep the options by which this run chose its stack."""
    _OPTIONS.set(options)


def command(*words: str) -> str:
    """A command of ours that speaks of the same stack."""
    return shlex.join(["assistance", *_OPTIONS.get(), *words])
