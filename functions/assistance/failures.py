"""What the channels' tables of their providers' errors have in common."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, NamedTuple

MAX_RETRY_AFTER: Final = 1_800
"""In seconds. A longer one might, by a hundred attempts, outlast the queue, which then forgets the message."""


class Kind(StrEnum):
    """What an error means for a delivery. `docs/failures.md` lists every documented error with its kind."""

    PERMANENT = "permanent"
    """Trying again is pointless: dead-lettered with the reason, and the fallback is used."""
    TRANSIENT = "transient"
    """Worth another attempt, and the provider has surely not taken the message."""
    IN_DOUBT = "transient, in doubt"
    """Worth another attempt, but the provider may have taken the message."""
    RATE_LIMITED = "rate limited"
    """Turned away unseen: another attempt follows, and for an hour this one does not count."""


class Table(NamedTuple):
    """A provider's errors, by code, as it documents them: a channel's `TABLES` make its part of `docs/failures.md`."""

    title: str
    source: str
    kinds: Mapping[str, Kind]
    notes: Mapping[str, str]


def retry_after(value: str, now: datetime) -> float | None:
    """What a Retry-After header asks for, in seconds; https://www.rfc-editor.org/rfc/rfc9110#name-retry-after."""
    seconds: float | None = None
    if value.isdecimal():
        seconds = float(value)
    else:
        with suppress(ValueError, TypeError):
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
    return None if seconds is None else min(max(seconds, 1.0), MAX_RETRY_AFTER)
