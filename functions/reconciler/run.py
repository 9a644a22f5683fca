"""The state that the parts of the reconciler share during one run."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any

from assistance.domain.record import Delivery, Record
from assistance.errors import Unreadable
from assistance.platform.aws import SQSClient
from assistance.platform.clock import Clock, epoch_ms, utc_now
from assistance.platform.observability import logger
from assistance.store import codec
from assistance.store.items import Item
from assistance.store.requests import RequestGone, Requests
from assistance.store.schema import PARTITION_KEY
from reconciler.settings import ChannelQueues


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
    behind_seconds: int = 0  # how late the first check is that was not made, because the time was over
    places: Counter[str] = field(default_factory=Counter)  # deliveries by `topic/channel/place`
    dead_lettered: list[str] = field(default_factory=list)  # marked as failed
    lost: list[str] = field(default_factory=list)  # published again
    stuck: list[str] = field(default_factory=list)  # their attempt has died
    untaken: list[str] = field(default_factory=list)  # nobody has taken them in time; each is in one report only
    complete: bool = True  # False if the sweep could not check everything
    unreadable: int = 0  # items
    damaged: set[str] = field(default_factory=set)  # unreadable requests, which the next sweep checks again

    def document(self) -> dict[str, Any]:
        """The report, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"damaged": sorted(self.damaged)}


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it has found so far, and how much time is left. A dry run writes nothing."""

    requests: Requests
    sqs: SQSClient
    queues: Mapping[str, ChannelQueues]  # by channel
    overdue: timedelta  # an attempt that is late by more than this is lost, if its channel's queue is empty
    remaining_ms: Callable[[], int]  # how long the function may still run
    dry_run: bool
    unpublished: set[str] = field(default_factory=set)  # the ids of the requests whose messages are in the outbox
    clock: Clock = utc_now
    report: Report = field(default_factory=Report)
    letters: dict[str, int] = field(default_factory=dict)  # by channel, how many dead letters it has, if all were read
    empty: dict[str, bool] = field(default_factory=dict)  # by channel, whether its queue is empty, if that was checked

    def now(self) -> int:
        """The time now, in milliseconds since 1970."""
        return epoch_ms(self.clock())

    def age(self, since: int) -> int:
        """How many seconds have passed since that time. 0 if it is still to come, because a clock is fast."""
        return max((self.now() - since) // 1_000, 0)

    def is_overdue(self, record: Record, delivery: Delivery, more: timedelta = timedelta()) -> bool:
        """Whether the delivery's attempt is so late, or by `more` later, that its message may be lost."""
        expected = max(delivery.expected_at or record.created_at, delivery.locked_until)
        return expected + (self.overdue + more) / timedelta(milliseconds=1) < self.now()

    def records(self, items: Iterable[Item]) -> Iterator[Open]:
        """The requests of these record items. Counts and logs each record that can't be read."""
        for item in items:
            request_id = str(item[PARTITION_KEY])
            with self.skipping_unreadable(request_id):
                yield Open(request_id, codec.record_of(item))

    @contextmanager
    def skipping_unreadable(self, request_id: str) -> Iterator[None]:
        """Leave the block if the request is gone, or can't be read or written. Counts and logs unreadable ones only."""
        try:
            with suppress(RequestGone):
                yield
        except Unreadable as error:
            self.report.unreadable += request_id not in self.report.damaged
            self.report.damaged.add(request_id)
            logger.error("a request can't be read or written", request_id=request_id, wrong=str(error))

    def change(self, found: Open, event: Callable[[Record], Record]) -> tuple[Record, bool]:
        """Apply an event, and write the record unless in a dry run. Returns it, and whether the event changed it."""

        def changed(record: Record) -> tuple[Record, bool]:
            after = event(record)
            return after, after is not record

        if self.dry_run:
            return changed(found.record)
        with self.skipping_unreadable(found.id):
            stored, has_changed = self.requests.change(found.id, changed)
            return stored.record, has_changed
        return found.record, False
