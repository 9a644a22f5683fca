"""Finds out where the messages of unfinished deliveries and of callbacks are, and publishes lost ones again."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Final
from uuid import uuid4

from assistance.domain import transitions
from assistance.domain.record import Delivery, Kind, Record
from assistance.engine import dead_letters
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.metrics import measure
from assistance.platform.observability import logger
from assistance.store.schema import Due
from reconciler.run import Location, Open, Run

TIME_TO_REPORT_MS: Final = 2_000
# The time that remains for the new requests and the dead letters if there are too many open requests for one sweep.
TIME_FOR_THE_REST_MS: Final = 15_000
# If the message of a resend is lost, another message of the request may wait for it in the same queue, which is then
# never empty. So a resend that is overdue by so much more is published again in any case.
HELD_UP: Final = timedelta(hours=1)
# How long a channel's queue keeps a message, as in infra/config. After that a message is in no queue, whatever other
# messages the queue holds: perhaps the consumer is off, or the channel is so busy that its queue is never empty.
QUEUE_RETENTION: Final = timedelta(days=4)
NOT_DEPLOYED: Final = "channel_not_deployed"


def watched(run: Run) -> Iterator[Open]:
    """Yield the requests that earlier sweeps have found, as long as there is time. Those due first come first.

    The finished requests that wait only for a callback come last: while a bot is down, there may be thousands. Of these
    come only the ones whose callback is due.
    """
    items = run.requests.items
    for found in run.records(chain(items.due(Due.OPEN), items.due(Due.CALLBACK, run.now()))):
        if run.remaining_ms() < TIME_FOR_THE_REST_MS:
            run.report.complete = False
            if found.record.unfinished:
                run.report.behind_seconds = run.age(found.record.due_at or run.now())
            return
        if found.record.ttl > run.now() // 1_000:
            yield found


def locate(run: Run, found: Open) -> None:
    """Report where a request's messages are, and publish lost ones again, as long as there is time."""
    report = run.report
    report.open += bool(found.record.unfinished)
    overdue = list[str]()
    for delivery in found.record.awaited:
        if delivery.kind is not Kind.CALLBACK:
            report.oldest_open_seconds = max(report.oldest_open_seconds, run.age(_open_since(found.record, delivery)))
        unpublished = found.id in run.unpublished and not delivery.attempts
        location = Location.UNPUBLISHED if unpublished else _location(run, found.record, delivery)
        if location is not Location.UNPUBLISHED and run.is_overdue(found.record, delivery):
            channel = delivery.destination
            if channel not in run.empty:
                run.empty[channel] = _is_empty(run, channel)
            repair = run.empty[channel] or _is_given_up(run, delivery) or _is_in_no_queue(run, found.record, delivery)
            if repair and run.remaining_ms() > TIME_TO_REPORT_MS:
                overdue.append(delivery.name)
                continue
            report.complete = report.complete and not repair
        _count(run, found, delivery, location)
    if overdue:
        with run.skipping_unreadable(found.id):
            _repair(run, found.id, overdue)


def _is_given_up(run: Run, delivery: Delivery) -> bool:
    """Whether to record an overdue delivery as failed, because its channel is no longer deployed. Callbacks always are.

    If a redrive waited for such a fallback, SQS would delete the redriven message in the end, and nobody would get the
    request. The reconciler does not give up a delivery to one of the request's own channels: the request stays open,
    and raises an alarm.
    """
    return delivery.kind not in {Kind.OWN, Kind.CALLBACK} and delivery.destination not in run.queues


def _repair(run: Run, request_id: str, names: list[str]) -> None:
    """Read the request again: an index may be outdated. Publish or give up the named deliveries that are overdue."""
    stored = run.requests.read(request_id)
    now = Open(request_id, stored.record)
    late, lost = list[str](), False
    for delivery in (each for each in now.record.awaited if each.name in names):
        about = {"request_id": request_id, "delivery": delivery.name, "dry_run": run.dry_run}
        location = Location.UNPUBLISHED if stored.unpublished else _location(run, now.record, delivery)
        if location is not Location.UNPUBLISHED and run.is_overdue(now.record, delivery):
            late.append(delivery.name)
            if _is_given_up(run, delivery):
                logger.error("given up: the channel is not deployed", extra=about | {"error_code": NOT_DEPLOYED})
                continue
            logger.error("lost: the delivery's message is in no queue", extra=about)
            location, lost = Location.LOST, True
        _count(run, now, delivery, location)
    if lost:
        run.report.lost.append(request_id)
        # Count it before the write. Otherwise, if this sweep dies after the write, nobody would count it: the next
        # sweep finds nothing lost. The alarm uses the maximum of these values.
        if not run.dry_run:
            measure("LostRequests", len(run.report.lost), service="reconciler")
    if not run.dry_run:
        # If version 1 has made attempts after a rollback, this also takes them over into the record.
        run.requests.update(request_id, partial(_repaired, run, late), stored)


def _repaired(run: Run, names: list[str], record: Record) -> Record:
    for delivery in record.awaited:
        if delivery.name in names and run.is_overdue(record, delivery):
            if _is_given_up(run, delivery):
                record = transitions.dead_lettered(record, delivery.name, uuid4().hex, NOT_DEPLOYED, now=run.now())
            else:
                record = transitions.publish(record, delivery.name, now=run.now())
    return record


def _count(run: Run, found: Open, delivery: Delivery, location: Location) -> None:
    report, channel = run.report, delivery.destination
    report.places[f"{found.record.topic}/{channel}/{location}"] += 1
    if location is Location.STUCK:
        report.stuck.append(found.id)
    if location not in {Location.UNPUBLISHED, Location.LOST}:
        age = run.age(_pending_since(found.record, delivery))
        report.oldest_pending_seconds[channel] = max(age, report.oldest_pending_seconds[channel])


def _location(run: Run, record: Record, delivery: Delivery) -> Location:
    if any(entry.delivery == delivery.name for entry in record.outbox):
        return Location.UNPUBLISHED
    if delivery.is_under_way:
        return Location.STUCK if run.is_overdue(record, delivery) else Location.SENDING
    return Location.RETRYING if delivery.attempts or delivery.waiting_for else Location.QUEUED


def _is_in_no_queue(run: Run, record: Record, delivery: Delivery) -> bool:
    """Whether the delivery is so late that its message counts as lost, even if the channel's queue is not empty."""
    channel = delivery.destination
    if channel not in run.queues:
        return False
    # The fallback or a redrive on the channel may have to wait for a resend.
    holds_others_up = delivery.kind is Kind.RESEND and not record.reached(channel)
    return run.is_overdue(record, delivery, HELD_UP if holds_others_up else QUEUE_RETENTION)


def _is_empty(run: Run, channel: str) -> bool:
    """Whether the channel's queue is empty, and this sweep has read all of the channel's dead letters."""
    queues = run.queues.get(channel)
    if queues is None:
        # Nobody would receive the message. The request stays unfinished, and its age raises an alarm.
        logger.error("a channel that requests wait for is not deployed", channel=channel)
        return False
    try:
        if channel not in run.letters or dead_letters.depth(run.sqs, queues.queue).total:
            return False
        # SQS may have moved a message there after this sweep read them, or another reader may have held some.
        there = sum(dead_letters.depth(run.sqs, url).total for url in queues.dlqs)
        return there <= run.letters[channel]
    except AWS_ERRORS as error:
        logger.warning("a queue can't be read", channel=channel, error_code=error_code(error))
        return False


def _pending_since(record: Record, delivery: Delivery) -> int:
    """Since when the delivery waits for its channel: since its first attempt or delay, else since its publication."""
    tried = [attempt.at for attempt in delivery.attempts if attempt.at >= delivery.wanted_since]
    put_off = [delivery.put_off_since] if delivery.put_off_since else []
    return min([*tried, *put_off], default=delivery.due_at or delivery.wanted_since or record.created_at)


def _open_since(record: Record, delivery: Delivery) -> int:
    """Since when a human waits for the delivery: since the request's acceptance, or a resend, escalation or bounce."""
    had_ended = delivery.kind in {Kind.RESEND, Kind.ESCALATION} or any(
        attempt.returned_at for other in record.deliveries for attempt in other.attempts
    )
    return (delivery.wanted_since or _pending_since(record, delivery)) if had_ended else record.created_at
