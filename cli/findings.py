"""The result of one check of `assistance doctor`."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Whether a check succeeded, warns of a problem to come, found a problem, could not run, or was skipped."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: what it checked, what it found, and its advice if there is a problem."""

    check: str
    state: State
    found: str
    advice: str = ""


def ok_if(check: str, holds: bool, found: str, advice: str) -> Finding:  # noqa: FBT001
    """Make a finding: `OK` if the condition `holds`, else `WRONG` with the advice."""
    return Finding(check, State.OK if holds else State.WRONG, found, "" if holds else advice)
