"""Where the requests are that have not ended: none is lost without being published again.

Each request is looked at once, shortly after it was accepted. By then nearly all have ended, and are never looked at
again. The others are watched: an index lists their records until they end. Each sweep says of each where it is: still
in the outbox, in its channel's queue, being sent, waiting for its next attempt, or nowhere. Then it is lost, and is
published again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from assistance.domain import transitions
from assistance.domain.record import Delivery, Record
from assistance.engine import dead_letters
from assistance.errors import Unreadable
from assistance.ids import RequestId
from assistance.models import Moment
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.clock import Clock, epoch_ms, ms_of, timestamp, utc_now
from assistance.platform.observability import logger
from assistance.routing import Channel
from assistance.store import codec, legacy
from assistance.store.items import Item, ItemModel, checked, key_of
from assistance.store.requests import RequestGone, Requests
from assistance.store.schema import LEDGER, PARTITION_KEY, RECORD, SORT_KEY
from reconciler.ages import open_since, waits_since
from reconciler.settings import ChannelQueues

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# An index lags behind its table, usually by less than a second. Half a sweep's interval, so that what is dead-lettered
# the moment it was accepted is found within two sweeps.
SETTLING: Final = timedelta(seconds=30)
TIME_TO_FINISH_MS: Final = 10_000
TIME_TO_REPORT_MS: Final = 2_000
_CHUNK: Final = 100
_PARALLEL: Final = 10
# Version 1 reads this attribute: after a rollback it looks at no request that this version has accepted, for it would
# find no delivery of them and publish them again. It begins to look again once that time has come.
_LEGACY_AHEAD: Final = timedelta(minutes=15)


class Place(StrEnum):
    """Where a delivery is that has not ended."""

    UNPUBLISHED = "unpublished"
    QUEUED = "queued"
    SENDING = "sending"
    STUCK = "stuck"
    RETRYING = "retrying"
    LOST = "lost"


class _Listed(ItemModel):
    """What the index says of a request."""

    id: Annotated[RequestId, Field(alias=PARTITION_KEY)]
    created_at: Moment


class _Looked(ItemModel):
    looked_until: Moment | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """A watched request, as the index lists it."""

    id: str
    record: Record


@dataclass(slots=True)
class Sights:
    """What else a sweep has seen. `unpublished`: the ids of requests whose messages are in the outbox still.

    `unread`: the channels whose dead letters have not all been read. What may lie there is not lost: published again
    it would only add to them. `empty` keeps which queues are empty.
    """

    unpublished: set[str]
    unread: set[str]
    empty: dict[str, bool] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What one look has found. Ages are in seconds; `places` counts by `topic/channel/place`.

    `oldest_pending_seconds`: by channel, how long the oldest request waits that was published to it. `behind_seconds`:
    how old the oldest request is that has not been looked at. `unreadable` counts the items that could not be read.
    """

    open: int = 0
    oldest_open_seconds: int = 0
    oldest_pending_seconds: Counter[str] = field(default_factory=Counter)
    behind_seconds: int = 0
    places: Counter[str] = field(default_factory=Counter)
    dead_lettered: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    complete: bool = True
    unreadable: int = 0

    def document(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True)
class OpenRequests:
    """Looks at what is open. `overdue`: how long after it was due an attempt counts as lost, if its queue is empty."""

    requests: Requests
    sqs: "SQSClient"
    queues: Mapping[Channel, ChannelQueues]
    overdue: timedelta
    clock: Clock = utc_now

    def take_in(self, report: Report, remaining_ms: Callable[[], int], *, dry_run: bool) -> list[Open]:
        """Look at the requests accepted since the last time, and watch those that have not ended. Returns these."""
        since, left_open = self._last_time(report)
        until, any_new = timestamp(self.clock() - SETTLING), bool(left_open)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            watch = partial(self._watch, report, dry_run=dry_run)
            found = list(pool.map(watch, left_open))
            listed = self._readable(self.requests.items.accepted(since or "0", _just_before(until)), report)
            for chunk in _chunks(listed) if until > since else ():
                if remaining_ms() < TIME_TO_FINISH_MS:
                    # The next sweep begins with the first that was left out.
                    until, report.complete = chunk[0].created_at, False
                    report.behind_seconds = self._age(ms_of(until))
                    break
                any_new = True
                found += pool.map(watch, self._not_ended(chunk))
        if any_new and not dry_run:
            # Without traffic there is nothing to keep.
            self.requests.items.looked_at(max(until, since), timestamp(self.clock() + _LEGACY_AHEAD))
        return [each for each in found if each]

    def _last_time(self, report: Report) -> tuple[str, list[str]]:
        """Up to when requests have been looked at, and the ids of those that version 1 has left open."""
        kept = self.requests.items.ledger()
        try:
            own = next((item for item in kept if item[SORT_KEY] == LEDGER), {})
            since = checked(_Looked, own).looked_until
            return (since, []) if since else legacy.ledger_of(kept)
        except Unreadable as error:
            report.unreadable += 1
            logger.error("the ledger can't be read: every request is looked at once more", wrong=str(error))
            return "", []

    def _readable(self, items: Iterator[Item], report: Report) -> Iterator[_Listed]:
        for item in items:
            try:
                yield checked(_Listed, item)
            except Unreadable as error:
                report.unreadable += 1
                logger.error("an item of the index can't be read", key=key_of(item), wrong=str(error))

    def _not_ended(self, chunk: Sequence[_Listed]) -> list[str]:
        """Those without a record, and those whose record says that they have not ended, by cheap reads."""
        keys = [{PARTITION_KEY: one.id, SORT_KEY: RECORD} for one in chunk]
        ended = set[tuple[str, int]]()
        for item in self.requests.items.many(keys, consistent=False):
            try:
                record = codec.record_of(item)
            except Unreadable:
                # It is counted when it is watched.
                continue
            if not record.unfinished and record.has_ended:
                ended.add((item[PARTITION_KEY], record.created_at))
        # The record may be that of an earlier request with the same id.
        return [one.id for one in chunk if (one.id, ms_of(one.created_at)) not in ended]

    def _watch(self, report: Report, id_: str, *, dry_run: bool) -> Open | None:
        try:
            stored = self.requests.read(id_) if dry_run else self.requests.change(id_, _watched)[0]
        except RequestGone:
            return None
        except Unreadable as error:
            report.unreadable += 1
            logger.error("a request can't be read", request_id=id_, wrong=str(error))
            return None
        return Open(id_, stored.record) if stored.record.unfinished else None

    def watched(self, report: Report) -> Iterator[Open]:
        """The requests that are watched and have not ended."""
        for item in self.requests.items.due():
            try:
                record = codec.record_of(item)
            except Unreadable as error:
                report.unreadable += 1
                logger.error("a record can't be read", key=key_of(item), wrong=str(error))
                continue
            if record.ttl > epoch_ms(self.clock()) // 1_000:
                yield Open(str(item[PARTITION_KEY]), record)

    def place(
        self, found: Open, sights: Sights, report: Report, remaining_ms: Callable[[], int], *, dry_run: bool
    ) -> None:
        """Say where a request is, and publish again what is lost, as long as there is time."""
        report.open += 1
        for delivery in found.record.unfinished:
            report.oldest_open_seconds = max(report.oldest_open_seconds, self._age(open_since(found.record, delivery)))
        overdue = list[str]()
        for delivery in found.record.unfinished:
            unpublished = found.id in sights.unpublished and not delivery.attempts
            place = Place.UNPUBLISHED if unpublished else self._place(found.record, delivery)
            if place is not Place.UNPUBLISHED and self._is_overdue(found.record, delivery):
                channel = delivery.destination
                if channel not in sights.empty:
                    sights.empty[channel] = channel not in sights.unread and self._is_empty(channel)
                if sights.empty[channel] and remaining_ms() > TIME_TO_REPORT_MS:
                    overdue.append(delivery.name)
                    continue
                report.complete = report.complete and not sights.empty[channel]
            self._count(found, delivery, place, report)
        if overdue:
            self._publish_again(found, overdue, report, dry_run=dry_run)

    def _publish_again(self, found: Open, names: list[str], report: Report, *, dry_run: bool) -> None:
        """What the index lists may be old, and the request itself may be in the outbox still: read it afresh."""
        try:
            request = self.requests.get(found.id)
        except Unreadable as error:
            report.unreadable += 1
            logger.error("a request can't be read", request_id=found.id, wrong=str(error))
            return
        now = request.record if request else None
        if now and now != found.record and now.version == found.record.version and not dry_run:
            # Version 1 has gone on with it after a rollback: the record takes over what it did.
            self.requests.change(found.id, _as_it_is)
        for name in names:
            delivery = now.delivery(name) if now else None
            if not (request and now and delivery and delivery in now.unfinished):
                continue
            place = Place.UNPUBLISHED if request.unpublished else self._place(now, delivery)
            # After an outage of SNS, what has just been published is in no queue yet.
            published = ms_of(request.published_at) if request.published_at else 0
            is_lost = place is not Place.UNPUBLISHED and self._is_overdue(now, delivery, published)
            self._count(Open(found.id, now), delivery, Place.LOST if is_lost else place, report)
            if not is_lost:
                continue
            logger.error("lost: in no queue", request_id=found.id, delivery=name, dry_run=dry_run)
            if found.id not in report.lost:
                report.lost.append(found.id)
            if not dry_run:
                self.requests.change(found.id, self._published_again(name))

    def _published_again(self, name: str) -> Callable[[Record], tuple[Record, None]]:
        now = epoch_ms(self.clock())

        def again(record: Record) -> tuple[Record, None]:
            delivery = record.delivery(name)
            is_lost = delivery in record.unfinished and delivery is not None and self._is_overdue(record, delivery)
            return (transitions.publish_again(record, [name], now=now) if is_lost else record), None

        return again

    def _count(self, found: Open, delivery: Delivery, place: Place, report: Report) -> None:
        channel = delivery.destination
        report.places[f"{found.record.topic}/{channel}/{place}"] += 1
        if place is Place.STUCK:
            report.stuck.append(found.id)
        if place not in {Place.UNPUBLISHED, Place.LOST}:
            age = self._age(delivery.attempts[0].at if delivery.attempts else waits_since(found.record, delivery))
            report.oldest_pending_seconds[channel] = max(age, report.oldest_pending_seconds[channel])

    def _place(self, record: Record, delivery: Delivery) -> Place:
        if any(entry.delivery == delivery.name for entry in record.outbox):
            return Place.UNPUBLISHED
        if delivery.is_under_way:
            return Place.STUCK if self._is_overdue(record, delivery) else Place.SENDING
        return Place.RETRYING if delivery.attempts or delivery.waiting_for else Place.QUEUED

    def _is_overdue(self, record: Record, delivery: Delivery, published: int = 0) -> bool:
        expected = max(delivery.expected_at or record.created_at, delivery.locked_until, published)
        return expected + self.overdue / timedelta(milliseconds=1) < epoch_ms(self.clock())

    def _is_empty(self, channel: str) -> bool:
        queues = next((queues for name, queues in self.queues.items() if name == channel), None)
        if queues is None:
            # Published again it would reach nobody. It stays open, and is seen by how old it gets.
            logger.error("a channel that requests wait for is not deployed", channel=channel)
            return False
        try:
            return not dead_letters.depth(self.sqs, queues.queue).total
        except AWS_ERRORS as error:
            logger.warning("a queue can't be read", channel=channel, error_code=error_code(error))
            return False

    def _age(self, since_ms: int) -> int:
        return max((epoch_ms(self.clock()) - since_ms) // 1_000, 0)


def _as_it_is(record: Record) -> tuple[Record, None]:
    return record, None


def _watched(record: Record) -> tuple[Record, None]:
    return transitions.watch(record), None


def _just_before(moment: str) -> str:
    return timestamp(datetime.fromisoformat(moment) - timedelta(milliseconds=1))


def _chunks(listed: Iterator[_Listed]) -> Iterator[list[_Listed]]:
    """Requests in chunks. Those of one moment stay together, so that a chunk can be resumed after."""
    chunk: list[_Listed] = []
    for _, together in groupby(listed, key=lambda one: one.created_at):
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
        chunk += together
    if chunk:
        yield chunk
