"""Time as the project writes it: UTC, in milliseconds, sortable as text."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """RFC 3339 with milliseconds, such as `2026-01-31T09:30:00.000Z`: sorts as text in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def timestamp_of(ms: int) -> str:
    """Milliseconds since 1970 in RFC 3339."""
    return timestamp(datetime.fromtimestamp(ms / 1_000, UTC))


def ms_of(moment: str) -> int:
    """RFC 3339 in milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1_000)
