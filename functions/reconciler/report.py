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
    """What one sweep has found. Ages are in seconds, and lists contain ids of requests.

    `open`: the number of unfinished requests. `oldest_pending_seconds`: by channel, how long the oldest request that
    was published to the channel has waited. `behind_seconds`: the age of the oldest request that was not checked,
    because the time was over. `places`: the number of deliveries by `topic/channel/place`. `dead_lettered`: the
    requests that were marked as failed. `lost`: those that were published again. `stuck`: those whose attempt has died.
    `untaken`: those that nobody has taken in time; each is in one report only. `complete`: False if the sweep could not
    check everything. `unreadable`: the number of items that could not be read. `damaged`: the requests among these,
    which the next sweep checks again.
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
