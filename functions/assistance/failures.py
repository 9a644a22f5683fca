"""The kinds of providers' errors, and how a channel turns an error into a failure."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

from assistance.errors import PermanentFailure, RateLimited, TransientFailure

MAX_RETRY_AFTER: Final = 1_800
"""In seconds. A longer one might, by a hundred attempts, outlast the queue, which then forgets the message."""


class Kind(StrEnum):
    """The consequence of an error for a delivery. `docs/failures.md` lists every documented error with its kind."""

    PERMANENT = "permanent"
    """Trying again is pointless: dead-lettered with the reason, and the fallback is used."""
    TRANSIENT = "transient"
    """Worth another attempt, and the provider has surely not taken the message."""
    IN_DOUBT = "transient, in doubt"
    """Worth another attempt, but the provider may have taken the message."""
    RATE_LIMITED = "rate limited"
    """Turned away unseen: another attempt follows, and for an hour this one does not count."""


def failure(
    kind: Kind, code: str, *, retry_after: float | None = None, in_doubt: bool = False
) -> PermanentFailure | TransientFailure:
    """The failure of that kind. `in_doubt`: one that is worth another attempt is in doubt even if its kind is not."""
    match kind:
        case Kind.PERMANENT:
            return PermanentFailure(code)
        case Kind.RATE_LIMITED:
            return RateLimited(code, retry_after=retry_after)
        case _:
            return TransientFailure(code, retry_after=retry_after, in_doubt=in_doubt or kind is Kind.IN_DOUBT)


class Table(NamedTuple):
    """A provider's errors, by code, as it documents them: a channel's `TABLES` make its part of `docs/failures.md`."""

    title: str
    source: str
    kinds: Mapping[str, Kind]
    notes: Mapping[str, str]


# The standard's form, the two older ones that it tells clients to accept, and that of mails, which some servers send.
# https://www.rfc-editor.org/rfc/rfc9110#name-date-time-formats. email.utils raises an OverflowError for some dates.
_DATES: Final = (
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
)


def retry_after(value: str, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for. None if it is unreadable: then it counts as absent.

    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    seconds = float(value) if value.isascii() and value.isdecimal() else _seconds_until(value, now)
    return None if seconds is None else min(max(seconds, 1.0), MAX_RETRY_AFTER)


def _seconds_until(date: str, now: datetime) -> float | None:
    for form in _DATES:
        with suppress(ValueError):
            moment = datetime.strptime(date, form)  # noqa: DTZ007 # a date without a zone is in UTC
            return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return None
