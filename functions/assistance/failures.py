"""The kinds of errors that providers return, and how a channel turns them into a `DeliveryError`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final, NamedTuple

from assistance.errors import PermanentFailure, RateLimited, TransientFailure

MAX_RETRY_AFTER: Final = 1_800
"""The longest delay, in seconds, that a provider can ask for. With a longer one, a hundred attempts could take longer
than SQS keeps a message."""


class Kind(StrEnum):
    """Whether a delivery is retried after an error, and how. `docs/failures.md` lists each documented error's kind."""

    PERMANENT = "permanent"  # no other attempt: the message becomes a dead letter, and the fallback is used
    TRANSIENT = "transient"  # another attempt follows: the provider has certainly not taken the message
    IN_DOUBT = "transient, in doubt"  # another attempt follows, but the provider may have taken the message
    RATE_LIMITED = "rate limited"  # another attempt follows: the provider has not read the message


def failure(
    kind: Kind, code: str, *, retry_after: float | None = None, in_doubt: bool = False
) -> PermanentFailure | TransientFailure:
    """The `DeliveryError` for this kind of error. `in_doubt`: True if a failure of kind `TRANSIENT` is in doubt."""
    match kind:
        case Kind.PERMANENT:
            return PermanentFailure(code)
        case Kind.RATE_LIMITED:
            return RateLimited(code, retry_after=retry_after)
        case _:
            return TransientFailure(code, retry_after=retry_after, in_doubt=in_doubt or kind is Kind.IN_DOUBT)


def http_failure(
    status: int, headers: Mapping[str, str], kinds: Mapping[str, Kind], now: datetime, *, in_doubt: bool = False
) -> PermanentFailure | TransientFailure | None:
    """The `DeliveryError` for an answer by HTTP. None if its status is 2xx. A redirect counts as a failure.

    `kinds`: the kinds of codes such as `http_404`. Other codes count as transient, and as in doubt if `in_doubt`.
    """
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    code, seconds = f"http_{status}", retry_after(headers.get("retry-after", ""), now)
    return failure(kinds.get(code, Kind.TRANSIENT), code, retry_after=seconds, in_doubt=in_doubt)


class Table(NamedTuple):
    """A provider's documented errors, and the page that lists them. `make docs` writes them to `docs/failures.md`."""

    title: str
    source: str
    kinds: Mapping[str, Kind]


def by_code(**codes: str) -> dict[str, Kind]:
    """Map each error code to its kind. `codes`: for each kind's name, its error codes, separated by spaces."""
    return {code: Kind[kind.upper()] for kind, listed in codes.items() for code in listed.split()}


def retry_after(value: str, now: datetime) -> float | None:
    """The delay, from 1 to 1,800 seconds, for which a Retry-After header asks. None if the header is unreadable.

    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    seconds = float(value) if value.isascii() and value.isdecimal() else _seconds_until(value, now)
    return None if seconds is None else min(max(seconds, 1.0), MAX_RETRY_AFTER)


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (OverflowError, ValueError):
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
