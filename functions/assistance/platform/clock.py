"""Times in the project's forms: milliseconds since 1970, and RFC 3339 texts in UTC that sort by time."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """The time in RFC 3339 with milliseconds, such as `2026-01-31T09:30:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_ms(moment: datetime) -> int:
    """The time in milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def timestamp_of(ms: int) -> str:
    """A time in milliseconds since 1970, converted to RFC 3339."""
    return timestamp(datetime.fromtimestamp(ms / 1_000, UTC))


def ms_of(moment: str) -> int:
    """A time in RFC 3339, converted to milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1_000)
