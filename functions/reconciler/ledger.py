"""The law of conservation: every accepted request is delivered, has failed, or is on its way.

Each request is looked at once, shortly after it was accepted. By then nearly all have been delivered, and are never
looked at again. The others are kept in a list and looked at by every sweep until they end. For each of them the ledger
says where it is: still in the outbox, in its channel's queue, being sent, waiting for its next attempt, in a
dead-letter queue (then it reads `failed` from now on), or nowhere: then it is lost, and is published again.

A request that had ended and is on its way again, as the fallback of a mail that has bounced, is looked at in the same
way. Its first end has been counted, so it is in the balance no more.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field

from assistance import dead_letters
from assistance.aws import AWS_ERRORS, error_code
from assistance.clock import Clock, epoch_ms, timestamp, utc_now
from assistance.dead_letters import DeadLetter
from assistance.deliveries import (
    Condition,
    Failure,
    delivery_key,
    expiry,
    fail,
    forget_outlived,
    reopened_key,
    request_key,
)
from assistance.errors import TableUnavailable, Unreadable
from assistance.ids import RequestId
from assistance.items import ItemModel, channels_of, checked, key_of, outlived
from assistance.models import Delivery, Moment, RequestRecord, Status, TopicName
from assistance.observability import logger
from assistance.requests import Requests
from assistance.routing import Channel, routes
from assistance.schema import (
    CHANNELS,
    CREATED_AT,
    DELIVERY_PREFIX,
    LEDGER_INDEX,
    LEDGER_SHARD,
    PARTITION_KEY,
    REQUEST,
    SORT_KEY,
    TTL,
)
from reconciler.balance import FORGOTTEN, MAX_OPEN, Balance, balance_of
from reconciler.settings import ChannelQueues

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# An index lags behind its table, usually by less than a second. Half a sweep's interval, so that what is dead-lettered
# the moment it was accepted is found within two sweeps.
SETTLING = timedelta(seconds=30)
# Of a queue, in one look.
MOST_LETTERS: Final = 10_000
# To receive it and to let go of it, in 512 MB: 2.8 were measured.
MS_PER_LETTER: Final = 3
TIME_TO_PLACE_MS: Final = 6_000
_CHUNK: Final = 100
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
_BATCH_GET: Final = 100
_PARALLEL: Final = 10
TIME_TO_FINISH_MS: Final = 10_000


class Place(StrEnum):
    """Where a request is that has not ended."""

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
    topic: TopicName


@dataclass(slots=True)
class Report:
    """What one look has found. Ages are in seconds; `places` counts by `topic/channel/place`.

    `oldest_pending_seconds`: by channel, how long the oldest request waits that was published to it. `behind_seconds`:
    how old the oldest request is that has not been looked at. `unreadable` counts the items that could not be read.
    """

    open: int = 0
    oldest_open_seconds: int = 0
    oldest_pending_seconds: Counter[Channel] = field(default_factory=Counter)
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
class Ledger:
    """Keeps the balance. `overdue`: how long after it was due an attempt counts as lost, if its queue is empty."""

    requests: Requests
    sqs: "SQSClient"
    queues: Mapping[Channel, ChannelQueues]
    retention: timedelta
    overdue: timedelta
    clock: Clock = utc_now

    def check(self, remaining_ms: Callable[[], int], *, dry_run: bool = False) -> Report:
        """Look at what is new and at what was open; put right what is wrong, unless it is a dry run.

        Raises `TableUnavailable`.
        """
        balance = balance_of(self.requests)
        before = (balance.until, dict(balance.open))
        report = Report()
        report.complete = complete = self._take_in(balance, report, remaining_ms)
        self._look_at_open(balance, report, remaining_ms, dry_run=dry_run)
        report.unreadable += balance.unreadable
        report.behind_seconds = 0 if complete else self._since(balance.until)
        if not dry_run and (balance.until, balance.open) != before:
            self._save(balance)
        return report

    def _save(self, balance: Balance) -> None:
        try:
            self.requests.table.put_item(Item=balance.item())
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error

    def _take_in(self, balance: Balance, report: Report, remaining_ms: Callable[[], int]) -> bool:
        """Look at the requests accepted since the last time. Returns whether all of them were."""
        until = timestamp(self.clock() - SETTLING)
        if until <= balance.until:
            return True
        new = self.requests.listed(
            LEDGER_INDEX,
            LEDGER_SHARD,
            f"{CREATED_AT} BETWEEN :since AND :until",
            {":since": balance.until or "0", ":until": _just_before(until)},
        )
        taken = False
        for chunk in _chunks(_readable(new, report)):
            if remaining_ms() < TIME_TO_FINISH_MS or balance.full:
                # The next sweep begins with the first that was left out.
                balance.until = chunk[0].created_at
                return False
            taken = True
            delivered = self._delivered(chunk)
            for new_one in chunk:
                topic = new_one.topic
                balance.accepted[topic] += 1
                if new_one.id in delivered:
                    balance.ended[f"{topic}/{Status.DELIVERED}"] += 1
                    balance.deliveries.update(
                        f"{topic}/{channel}/{Status.DELIVERED}" for channel in delivered[new_one.id]
                    )
                else:
                    balance.open[new_one.id] = new_one.created_at
        if taken:
            # Without traffic there is nothing to write down.
            balance.until = until
        return True

    def _delivered(self, requests: Sequence[_Listed]) -> dict[str, tuple[Channel, ...]]:
        """Those that have been delivered on all of their channels, and these, by cheap reads.

        The route is today's, which may be another than theirs: then they count as open, and are looked at once more.
        """
        keys = []
        for one in requests:
            if route := routes().get(one.topic):
                keys += [request_key(one.id), *(delivery_key(one.id, channel) for channel in route.channels)]
        table, items = self.requests.table, list[Any]()
        for start in range(0, len(keys), _BATCH_GET):
            wanted: Any = {
                "Keys": keys[start : start + _BATCH_GET],
                "ProjectionExpression": f"{PARTITION_KEY}, {SORT_KEY}, {CHANNELS}, #status, #ttl",
                "ExpressionAttributeNames": {"#status": "status", "#ttl": TTL},
            }
            try:
                answer = table.meta.client.batch_get_item(RequestItems={table.name: wanted})
            except AWS_ERRORS as error:
                raise TableUnavailable(error_code(error)) from error
            items += answer["Responses"].get(table.name, [])
        accepted = {one.id: one.created_at for one in requests}
        done = {
            (item[PARTITION_KEY], item[SORT_KEY])
            for item in items
            # Not those of an earlier request that had this id.
            if item.get("status") == Status.DELIVERED and not outlived(item, accepted[item[PARTITION_KEY]])
        }
        delivered: dict[str, tuple[Channel, ...]] = {}
        for item in items:
            # What was left unprocessed counts as open too, and so does what can't be read.
            with suppress(Unreadable):
                if item[SORT_KEY] == REQUEST and all(
                    (item[PARTITION_KEY], f"{DELIVERY_PREFIX}{channel}") in done for channel in channels_of(item)
                ):
                    delivered[item[PARTITION_KEY]] = channels_of(item)
        return delivered

    def _look_at_open(
        self, balance: Balance, report: Report, remaining_ms: Callable[[], int], *, dry_run: bool
    ) -> None:
        records = self._records(list(balance.on_their_way))
        report.unreadable += len(balance.on_their_way) - len(records)
        waiting: dict[str, RequestRecord] = {}
        for request_id, record in records.items():
            if record is None:
                # Forgotten by the table: `ttl`.
                if balance.open.pop(request_id, None):
                    balance.ended[FORGOTTEN] += 1
                self._close(balance, request_id, dry_run=dry_run)
            elif record.pending:
                waiting[request_id] = record
            else:
                self._settle(balance, record, dry_run=dry_run)
        if waiting:
            unread = self._find_dead_letters(waiting, balance, report, remaining_ms, dry_run=dry_run)
            self._place(waiting, unread, report, dry_run=dry_run)
        if balance.on_their_way:
            report.oldest_open_seconds = self._since(min(balance.on_their_way.values()))
        report.open = len(balance.on_their_way)

    def _since(self, moment: str) -> int:
        return int((self.clock() - datetime.fromisoformat(moment)).total_seconds())

    def _records(self, request_ids: Sequence[str]) -> dict[str, RequestRecord | None]:
        """What the table holds of each, None for what it has forgotten; what can't be read is left out."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return dict(found for found in pool.map(self._record, request_ids) if found)

    def _record(self, request_id: str) -> tuple[str, RequestRecord | None] | None:
        try:
            return request_id, self.requests.get(request_id)
        except Unreadable as error:
            logger.error("a request can't be read", request_id=request_id, wrong=str(error))
            return None

    def _settle(self, balance: Balance, record: RequestRecord, *, dry_run: bool) -> None:
        id_, topic = record.request.id, record.request.topic
        if balance.open.pop(id_, None):
            balance.ended[f"{topic}/{record.status}"] += 1
            ended = (each for each in record.deliveries if each.ended)
            balance.deliveries.update(f"{topic}/{delivery.channel}/{delivery.status}" for delivery in ended)
        self._close(balance, id_, dry_run=dry_run)

    def _close(self, balance: Balance, request_id: str, *, dry_run: bool) -> None:
        """If it was reopened it has ended again, unless it has been reopened once more since it was read."""
        reopened_at = balance.reopened.pop(request_id, None)
        if reopened_at is None or dry_run:
            return
        try:
            self.requests.table.delete_item(
                Key=reopened_key(request_id),
                ConditionExpression="reopened_at = :since",
                ExpressionAttributeValues={":since": reopened_at},
            )
        except self.requests.table.meta.client.exceptions.ConditionalCheckFailedException:
            logger.debug("reopened once more", request_id=request_id)
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error

    def _find_dead_letters(
        self,
        waiting: dict[str, RequestRecord],
        balance: Balance,
        report: Report,
        remaining_ms: Callable[[], int],
        *,
        dry_run: bool,
    ) -> set[Channel]:
        """Whose message lies in a dead-letter queue, that reads `failed`.

        Returns the channels whose letters have not all been read.
        """
        unread = set[Channel]()
        # Then nothing more is taken in, so that one channel's outage would hide the letters of another.
        full = balance.full
        channels = {channel for record in waiting.values() for channel in record.pending}
        for channel in self.queues if full else channels & self.queues.keys():
            letters, complete = self._letters(channel, remaining_ms)
            if not complete:
                unread.add(channel)
            others = self._not_open(letters, balance) if full else {}
            for letter in letters:
                id_ = letter.request_id or ""
                record = waiting.get(id_) or others.get(id_)
                if record is None or channel not in record.pending:
                    continue
                if dry_run or self._fail(record, channel, letter):
                    report.dead_lettered.append(record.request.id)
                    if id_ in others:
                        # What is not open is settled when it is taken in.
                        continue
                    _, again = self._record(record.request.id) or (id_, None)
                    if again and not again.pending:
                        self._settle(balance, again, dry_run=dry_run)
                        del waiting[record.request.id]
                    elif again:
                        waiting[record.request.id] = again
        return unread

    def _not_open(self, letters: Sequence[DeadLetter], balance: Balance) -> dict[str, RequestRecord]:
        """The letters' requests that are not open in the balance, such as those that have yet to be taken in."""
        ids = dict.fromkeys(letter.request_id for letter in letters if letter.request_id)
        wanted = [id_ for id_ in ids if id_ not in balance.on_their_way]
        # Others another time: SQS hands out letters in no order.
        return {id_: record for id_, record in self._records(wanted[:MAX_OPEN]).items() if record}

    def _letters(self, channel: Channel, remaining_ms: Callable[[], int]) -> tuple[list[DeadLetter], bool]:
        """The channel's dead letters, and whether these are all.

        They are visible again by now: what is done about them may fail.
        """
        found, complete = list[DeadLetter](), True
        for url in self.queues[channel].dlqs:
            try:
                depth = dead_letters.depth(self.sqs, url)
                # Somebody else looks, or was killed while looking: what they hold is not seen.
                complete = complete and not depth.in_flight
                began = remaining_ms()
                limit = min(MOST_LETTERS, (began - TIME_TO_PLACE_MS) // MS_PER_LETTER)
                if depth.total and limit > 0:
                    with dead_letters.looking(self.sqs, url, limit=limit, bodies=False) as letters:
                        found += letters
                        # What is held for too long comes again before the others.
                        in_time = began - remaining_ms() < dead_letters.LOOK_SECONDS * 1_000
                        complete = complete and in_time and len(letters) < limit
                elif depth.total:
                    complete = False
            except AWS_ERRORS as error:
                complete = False
                logger.warning("a dead-letter queue can't be read", channel=channel, error_code=error_code(error))
        return found, complete

    def _fail(self, record: RequestRecord, channel: Channel, letter: DeadLetter) -> bool:
        now = self.clock()
        delivery = record.delivery(channel)
        failure = Failure(
            request=record.request,
            channel=channel,
            code=letter.reason,
            in_doubt=bool(delivery and (delivery.claimed_until or any(a.in_doubt for a in delivery.timeline))),
            at=timestamp(now),
            ttl=expiry(record.request.created_at, self.retention),
        )
        condition = Condition(
            "attribute_not_exists(#status) OR #status = :retrying OR (#status = :sending AND claim_expires_at <= :now)",
            {"#status": "status"},
            {":retrying": Status.RETRYING, ":sending": Status.SENDING, ":now": epoch_ms(now)},
        )
        try:
            failed = fail(self.requests.table, failure, condition, entry="timeline")
            if not failed and delivery is None:
                key = delivery_key(record.request.id, channel)
                if forget_outlived(self.requests.table, key, record.request):
                    failed = fail(self.requests.table, failure, condition, entry="timeline")
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        if failed:
            logger.error(
                "found in a dead-letter queue", request_id=record.request.id, channel=channel, error_code=letter.reason
            )
        return failed

    def _place(
        self, waiting: Mapping[str, RequestRecord], unread: set[Channel], report: Report, *, dry_run: bool
    ) -> None:
        # What may lie among the letters that were not read is not lost: published again it would only add to them.
        empty: dict[Channel, bool] = dict.fromkeys(unread, False)
        for record in waiting.values():
            lost: list[Channel] = []
            for channel in record.pending:
                delivery = record.delivery(channel)
                place, due = self._where(record, delivery)
                if place is not Place.UNPUBLISHED and due + self.overdue < self.clock():
                    if channel not in empty:
                        empty[channel] = self._is_empty(channel)
                    if empty[channel]:
                        place = Place.LOST
                        lost.append(channel)
                        logger.error(
                            "lost: in no queue", request_id=record.request.id, channel=channel, dry_run=dry_run
                        )
                if place not in {Place.UNPUBLISHED, Place.LOST}:
                    age = self._since(_pending_since(record, delivery))
                    report.oldest_pending_seconds[channel] = max(age, report.oldest_pending_seconds[channel])
                if place is Place.STUCK:
                    report.stuck.append(record.request.id)
                report.places[f"{record.request.topic}/{channel}/{place}"] += 1
            if lost:
                report.lost.append(record.request.id)
                if not dry_run:
                    self.requests.publish_again(record.request.id, lost)

    def _where(self, record: RequestRecord, delivery: Delivery | None) -> tuple[Place, datetime]:
        """Where the request is, and when its next attempt was or is due."""
        if record.in_outbox:
            return Place.UNPUBLISHED, datetime.fromisoformat(record.request.created_at)
        if delivery is None:
            return Place.QUEUED, datetime.fromisoformat(record.published_at or record.request.created_at)
        if delivery.claimed_until:
            ends = datetime.fromisoformat(delivery.claimed_until)
            return (Place.STUCK if ends + self.overdue < self.clock() else Place.SENDING), ends
        return Place.RETRYING, datetime.fromisoformat(
            delivery.next_attempt_at or delivery.last_attempt_at or record.request.created_at
        )

    def _is_empty(self, channel: Channel) -> bool:
        if channel not in self.queues:
            # Published again it would reach nobody. It stays open, and is seen by how old it gets.
            logger.error("a channel that requests wait for is not deployed", channel=channel)
            return False
        try:
            return not dead_letters.depth(self.sqs, self.queues[channel].queue).total
        except AWS_ERRORS as error:
            logger.warning("a queue can't be read", channel=channel, error_code=error_code(error))
            return False


def _pending_since(record: RequestRecord, delivery: Delivery | None) -> str:
    """Since when a request that is out of the outbox is its channel's: publishing it again begins no new wait."""
    published_at = record.published_at or record.request.created_at
    first_attempt_at = delivery.first_attempt_at if delivery else None
    return min(published_at, first_attempt_at or published_at)


def _just_before(moment: str) -> str:
    return timestamp(datetime.fromisoformat(moment) - timedelta(milliseconds=1))


def _readable(items: Iterator[Mapping[str, Any]], report: Report) -> Iterator[_Listed]:
    for item in items:
        try:
            yield checked(_Listed, item)
        except Unreadable as error:
            report.unreadable += 1
            logger.error("an item of the index can't be read", key=key_of(item), wrong=str(error))


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
