"""Builds commands that an operator can paste, with the same stack, region and profile as the current command."""

import shlex
from contextvars import ContextVar
from typing import Final

_OPTIONS: Final[ContextVar[tuple[str, ...]]] = ContextVar("options", default=())


def remember(*options: str) -> None:
    """Remember the options by which the current command chose its stack, such as `--stack` and its value."""
    _OPTIONS.set(options)


def command(*words: str) -> str:
    """The command line `assistance …` with these words and the options that `remember` stored: for the same stack."""
    return shlex.join(["assistance", *_OPTIONS.get(), *words])
