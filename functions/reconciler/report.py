"""The result of a sweep."""

from collections import Counter
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from assistance.domain.record import Record


class Location(StrEnum):
    """Where the message of an unfinished delivery is."""

    UNPUBLISHED = "unpublished"
    QUEUED = "queued"
    SENDING = "sending"
    STUCK = "stuck"
    RETRYING = "retrying"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Open:
    """An unfinished request: its id, and its record as it was read from the index or the table."""

    id: str
    record: Record


@dataclass(slots=True)
class Report:
    """What one sweep has found. Lists contain ids of requests."""

    open: int = 0  # unfinished requests
    oldest_open_seconds: int = 0
    oldest_pending_seconds: Counter[str] = field(default_factory=Counter)  # of published requests, by channel
    behind_seconds: int = 0  # the age of the oldest request that was not checked, because the time was over
    places: Counter[str] = field(default_factory=Counter)  # deliveries by `topic/channel/place`
    dead_lettered: list[str] = field(default_factory=list)  # marked as failed
    lost: list[str] = field(default_factory=list)  # published again
    stuck: list[str] = field(default_factory=list)  # their attempt has died
    untaken: list[str] = field(default_factory=list)  # nobody has taken them in time; each is in one report only
    complete: bool = True  # False if the sweep could not check everything
    unreadable: int = 0  # items
    damaged: set[str] = field(default_factory=set)  # unreadable requests, which the next sweep checks again

    def unread(self, request_id: str) -> None:
        """Count a request that can't be read. A request is counted only once."""
        if request_id not in self.damaged:
            self.unreadable += 1
            self.damaged.add(request_id)

    def document(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"damaged": sorted(self.damaged)}


def measure_lost(report: Report) -> None:
    """Emit how many lost requests the sweep has found so far. The alarm uses the maximum of these values."""
    metrics = EphemeralMetrics()
    metrics.add_metric("LostRequests", MetricUnit.Count, len(report.lost))
    metrics.flush_metrics()
