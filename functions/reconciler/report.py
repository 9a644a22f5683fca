"""The result of a sweep."""

from collections import Counter
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from assistance.domain.record import Record


class Place(StrEnum):
    """The place of a delivery that has not ended."""

    UNPUBLISHED = "unpublished"
    QUEUED = "queued"
    SENDING = "sending"
    STUCK = "stuck"
    RETRYING = "retrying"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Open:
    """A watched request, as the index lists it."""

    id: str
    record: Record


@dataclass(slots=True)
class Report:
    """The findings of one look. Ages are in seconds; `places` counts by `topic/channel/place`.

    `oldest_pending_seconds`: by channel, how long the oldest request waits that was published to it. `behind_seconds`:
    how old the oldest request is that has not been looked at. `untaken`: those that nobody had taken in time, each in
    one look only. `unreadable` counts the items that could not be read; `damaged` has the ids of requests among them,
    which the next sweep looks at once more.
    """

    open: int = 0
    oldest_open_seconds: int = 0
    oldest_pending_seconds: Counter[str] = field(default_factory=Counter)
    behind_seconds: int = 0
    places: Counter[str] = field(default_factory=Counter)
    dead_lettered: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    untaken: list[str] = field(default_factory=list)
    complete: bool = True
    unreadable: int = 0
    damaged: set[str] = field(default_factory=set)

    def unread(self, request_id: str) -> None:
        """Count a request that can't be read, once."""
        if request_id not in self.damaged:
            self.unreadable += 1
            self.damaged.add(request_id)

    def document(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"damaged": sorted(self.damaged)}


def measure_lost(report: Report) -> None:
    """Emit how many lost requests the sweep has found so far. The alarm watches the largest value."""
    metrics = EphemeralMetrics()
    metrics.add_metric("LostRequests", MetricUnit.Count, len(report.lost))
    metrics.flush_metrics()
