"""Everything that changes a record: one pure function for each event.

Each takes the record, what happened and the time, and returns the new record, with an answer where the caller needs
one. A function that changes nothing returns the same object that it was given, so the store writes nothing. Applying a
function twice has the same effect as once, because the SDK repeats a write if the answer was lost.

    claim ──▶ sent            the provider took the message
          ──▶ put_off         nothing was tried: the provider's rate limit, say
          ──▶ retry_later     the attempt failed, and another follows
          ──▶ gave_up         the attempt failed for good; its message lies in the dead-letter queue
    dead_lettered             the reconciler found the message in a dead-letter queue
    returned, confirmed       what SES reports of a mail later
    resend                    an operator sends the request once more
    publish, published        into the outbox, and out of it
    queued                    the request itself was published late
    watch                     the reconciler looks at it until it has ended

What a human does with a delivered request is in `takes.py`.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter
from typing import Final

from assistance.domain.record import (
    Attempt,
    Delivery,
    End,
    Entry,
    Handled,
    Kind,
    Outcome,
    Record,
    StandsInFor,
    Status,
)

CALLBACK: Final = "callback"
FALLBACK: Final = "fallback"
# A message that nobody has received so long after its attempt was due lies in a dead-letter queue again, or is gone.
_LATE_MS: Final = 900_000


class Refused(StrEnum):
    """Why a worker does not get the claim, and what it does with the message."""

    DELIVERED = "delivered already: acknowledge the message"
    NOT_NEEDED = "another delivery has reached a human: acknowledge the message"
    UNKNOWN = "the record has no such delivery: acknowledge the message"
    ERASED = "what the request said is erased: acknowledge the message"
    BUSY = "another attempt is under way, or its doubt has not settled: come back later"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt. The worker that holds it ends it by `sent`, `put_off`, `retry_later` or `gave_up`.

    `number` counts the attempts of the present budget. `doubts` are the earlier attempts that may have arrived: look
    these up before sending. `exhausted`: the last attempt of the budget died; give up without another.
    """

    number: int
    doubts: tuple[Attempt, ...]
    alone: bool
    exhausted: bool = False


def first(
    channels: Iterable[str],
    fallback: str | None,
    *,
    topic: str,
    created_at: int,
    ttl: int,
    calls_back: bool,
    escalate_at: int | None = None,
) -> Record:
    """The record of a request before its first attempt. Every worker computes the same one from the request."""
    names = tuple(channels)
    return Record(
        topic=topic,
        created_at=created_at,
        ttl=ttl,
        channels=names,
        # A fallback must be another channel than the request's own.
        fallback=None if fallback in names else fallback,
        calls_back=calls_back,
        escalate_at=escalate_at,
        deliveries=tuple(Delivery(name, name, Kind.OWN) for name in names),
    )


def same_request(existing: Record, fresh: Record) -> Record | None:
    """The record to work on: the existing one, unless it belongs to an earlier request with the same id.

    An id may come again once its request has expired, and DynamoDB may keep an expired record for days. The answer is
    None if the worker's message, from which it computed `fresh`, belongs to the earlier request.
    """
    if existing.created_at == fresh.created_at:
        return existing
    return replace(fresh, version=existing.version) if existing.created_at < fresh.created_at else None


def claim(
    record: Record, name: str, attempt: str, *, now: int, until: int, limit: int, place: str | None = None
) -> tuple[Record, Claim | Refused]:
    """Claim a delivery for one attempt, until that time at most; `limit` is how many attempts a budget has.

    This one write also decides between two channels: a fallback and a redrive never both send.
    """
    delivery = record.delivery(name)
    if delivery is None:
        return record, Refused.UNKNOWN
    if delivery.holds(attempt):
        # The answer to our own write was lost, so the SDK repeats it.
        return record, _claimed(delivery)
    if refused := _refusal(record, delivery, now):
        nobody_sends_it = refused in {Refused.NOT_NEEDED, Refused.ERASED}
        return (_marked_unneeded(record, delivery, now) if nobody_sends_it else record), refused
    attempts = delivery.attempts
    if _is_exhausted(delivery, limit):
        # The new claim only ends the attempt that died. It sends nothing, so it adds no attempt.
        attempts = (*attempts[:-1], replace(attempts[-1], id=attempt, in_doubt=True, ended_at=None))
    else:
        attempts = (*_ended_by(delivery, now).attempts, Attempt(attempt, now, place=place))
    claimed = replace(delivery, attempts=attempts, locked_until=until, due_at=None, waiting_for=None)
    if claimed.wanted_since > now:
        # An operator's clock is fast.
        claimed = replace(claimed, wanted_since=now)
    return with_delivery(record, claimed), _claimed(claimed)


def sent(record: Record, name: str, attempt: str, result: str | None, *, now: int) -> Record:
    """The provider took the message. Record that even if another worker has the claim: nobody may send it again."""
    delivery = record.delivery(name)
    if delivery is None:
        return record
    mine = next((each for each in delivery.attempts if each.id == attempt), Attempt(attempt, now))
    if mine.outcome is Outcome.DELIVERED:
        return record
    done = replace(mine, outcome=Outcome.DELIVERED, error=None, in_doubt=False, ended_at=now, result=result)
    others = tuple(each for each in delivery.attempts if each.id != attempt)
    after = replace(delivery, attempts=(*others, done), locked_until=0, due_at=None, waiting_for=None, alone=False)
    watched = record.watched or record.escalate_at is not None
    return _ended(replace(with_delivery(record, after), watched=watched), now)


def put_off(record: Record, name: str, attempt: str, code: str, *, now: int, due: int, alone: bool = False) -> Record:
    """The worker did not try to send, so the attempt is removed."""
    delivery = record.delivery(name)
    if delivery is None or not delivery.holds(attempt):
        return record
    after = replace(
        delivery,
        attempts=delivery.attempts[:-1],
        locked_until=0,
        due_at=due,
        waiting_for=code,
        put_off_at=delivery.put_off_since or now,
        alone=delivery.alone or alone,
    )
    return with_delivery(record, after)


def retry_later(
    record: Record, name: str, attempt: str, code: str, *, now: int, in_doubt: bool, due: int, settles: int
) -> Record:
    """The attempt failed, and another is due at `due`. A message in doubt has arrived by `settles`, or never will."""
    delivery = record.delivery(name)
    if delivery is None or not delivery.holds(attempt):
        return record
    over = _over(delivery, Outcome.RETRYING, code, now=now, in_doubt=in_doubt, settles=settles)
    return with_delivery(record, replace(over, due_at=due))


def gave_up(record: Record, name: str, attempt: str, code: str, *, now: int, in_doubt: bool, settles: int) -> Record:
    """The attempt failed for good, and the message lies in the dead-letter queue by now."""
    delivery = record.delivery(name)
    if delivery is None or not delivery.holds(attempt):
        return record
    over = _over(delivery, Outcome.FAILED, code, now=now, in_doubt=in_doubt, settles=settles)
    return _failed(record, with_delivery(record, over), over, code, now)


def dead_lettered(record: Record, name: str, letter: str, code: str, *, now: int) -> Record:
    """The message of a delivery that is on its way lies in a dead-letter queue. `letter` is that message's id."""
    delivery = record.delivery(name)
    if delivery is None or delivery.final or delivery.is_locked(now):
        return record
    found = Attempt(letter, now, Outcome.FAILED, error=code, ended_at=now, found=True)
    after = replace(delivery, attempts=(*delivery.attempts, found), due_at=None, waiting_for=None)
    return _failed(record, with_delivery(record, after), after, code, now)


def returned(record: Record, result: str, code: str, *, now: int) -> tuple[Record, bool]:
    """A message that the provider took came back. The second result is whether the record knows that message."""
    found = _sent_as(record, result)
    if found is None:
        return record, False
    delivery, attempt = found
    if attempt.returned_at is not None:
        return record, True
    after = _with_attempt(delivery, replace(attempt, returned_at=now, error=code))
    return _failed(record, replace(with_delivery(record, after), watched=True), after, code, now), True


def confirmed(record: Record, result: str, *, at: int) -> tuple[Record, bool]:
    """The recipient's mail server took the message then. The second result is whether the record knows that message."""
    found = _sent_as(record, result)
    if found is None:
        return record, False
    delivery, attempt = found
    if attempt.confirmed_at is not None and attempt.confirmed_at >= at:
        return record, True
    return with_delivery(record, _with_attempt(delivery, replace(attempt, confirmed_at=at))), True


def resend(record: Record, name: str, destination: str, *, now: int) -> Record | None:
    """An operator sends the request once more, as a new delivery.

    None while it, or its redrive, is on its way, and once it is erased.
    """
    if record.delivery(name):
        return record
    if record.erased_at is not None:
        return None
    expected = (each for each in record.of_request if is_expected(each, now))
    if any(original.destination == destination for original in (*record.pending, *expected)):
        return None
    return wanted(replace(record, watched=True), Delivery(name, destination, Kind.RESEND), now)


def publish(record: Record, name: str, *, now: int) -> Record:
    """Put the delivery into the outbox: its message is new, or is in no queue any more."""
    others = tuple(entry for entry in record.outbox if entry.delivery != name)
    deliveries = tuple(_ended_by(each, now) if each.name == name else each for each in record.deliveries)
    return replace(record, deliveries=deliveries, outbox=(*others, Entry(name, now)))


def is_expected(delivery: Delivery, now: int) -> bool:
    """Whether a message of it may be on its way: an attempt is under way or due."""
    at = delivery.expected_at or 0
    return at > 0 and at + _LATE_MS > now


def published(record: Record, entries: Iterable[Entry], *, now: int) -> Record:
    """SNS has accepted these entries. A later entry of the same delivery stays in the outbox."""
    done = frozenset(entries)
    left = tuple(entry for entry in record.outbox if entry not in done)
    if left == record.outbox:
        return record
    names = {entry.delivery for entry in record.outbox if entry in done}
    return replace(queued(record, names, now=now), outbox=left)


def queued(record: Record, names: Collection[str], *, now: int) -> Record:
    """The messages of these deliveries are in their queues from now on: an attempt may be expected."""
    deliveries = tuple(
        replace(each, due_at=max(now, each.due_at or 0))
        if each.name in names and each.final is None and not each.is_under_way
        else each
        for each in record.deliveries
    )
    return record if deliveries == record.deliveries else replace(record, deliveries=deliveries)


def watch(record: Record) -> Record:
    """The request has not ended shortly after it was accepted: the reconciler looks at it until it has."""
    return replace(record, watched=True) if record.unfinished and not record.watched else record


def _refusal(record: Record, delivery: Delivery, now: int) -> Refused | None:
    if delivery.final is Outcome.DELIVERED:
        return Refused.DELIVERED
    if record.erased_at is not None and delivery.kind is not Kind.CALLBACK:
        return Refused.ERASED
    if delivery.kind is Kind.CALLBACK and delivery is not record.series_of(delivery)[-1]:
        # The request has come to another end since, or another human has it.
        return Refused.NOT_NEEDED
    if delivery.kind is Kind.ESCALATION and not record.wants_escalation:
        return Refused.NOT_NEEDED
    stands_in = delivery.kind is Kind.FALLBACK or (delivery.kind is Kind.OWN and delivery.final)
    if stands_in and (record.reached(delivery.destination) or not record.wants_fallback):
        return Refused.NOT_NEEDED
    is_busy = delivery.is_locked(now) or any(_goes_first(other, delivery, now) for other in record.deliveries)
    return Refused.BUSY if is_busy else None


def _goes_first(other: Delivery, delivery: Delivery, now: int) -> bool:
    """Whether `delivery`, a fallback, a redrive or an escalation, waits for `other`."""
    match other.kind, delivery.kind:
        case Kind.FALLBACK, Kind.OWN:
            # A redrive waits for an unfinished fallback.
            return bool(delivery.final) and (other.final is None or other.is_locked(now))
        case (Kind.FALLBACK, Kind.ESCALATION) | (Kind.ESCALATION, Kind.FALLBACK):
            return other.is_locked(now)
        case Kind.OWN, Kind.FALLBACK:
            return other.final is Outcome.FAILED and other.is_locked(now)
    return False


def _is_exhausted(delivery: Delivery, limit: int) -> bool:
    died = bool(delivery.attempts) and delivery.attempts[-1].outcome is Outcome.UNKNOWN
    return died and delivery.attempts_used >= limit


def _claimed(delivery: Delivery) -> Claim:
    before = replace(delivery, attempts=delivery.attempts[:-1])
    # An attempt under way is in doubt only if it died and this claim merely ends it.
    return Claim(delivery.attempts_used, before.doubts, delivery.alone, exhausted=delivery.attempts[-1].in_doubt)


def _over(delivery: Delivery, outcome: Outcome, code: str, *, now: int, in_doubt: bool, settles: int) -> Delivery:
    last = delivery.attempts[-1]
    last = replace(last, outcome=outcome, error=code, in_doubt=in_doubt or last.in_doubt, ended_at=now)
    over = replace(delivery, attempts=(*delivery.attempts[:-1], last))
    return replace(over, locked_until=settles if over.doubts else 0)


def _failed(before: Record, record: Record, delivery: Delivery, code: str, now: int) -> Record:
    """Add the consequence of a failure: the fallback, or the request's end."""
    destination = record.fallback
    own_failed = delivery.destination in record.channels and record.status is Status.FAILED
    fallback = record.delivery(FALLBACK)
    if destination and own_failed and fallback is None and record.erased_at is None:
        fallback = Delivery(FALLBACK, destination, Kind.FALLBACK, StandsInFor(delivery.destination, code))
        record = with_delivery(record, fallback)
    is_fallback = delivery.kind is Kind.FALLBACK
    if fallback and not is_fallback and record.wants_fallback and not before.wants_fallback:
        # For the first time, or again: its message was dropped when a human had the request. What itself came back
        # waits for its redrive.
        failed = max(record.unreached, key=attrgetter("final_at"))
        cause = StandsInFor(failed.destination, _error_of(failed))
        record = wanted(record, replace(fallback, cause=cause), now)
    return _ended(record, now)


def _error_of(failed: Delivery) -> str:
    return next((each.error for each in reversed(failed.attempts) if each.lasting is Outcome.FAILED), None) or ""


def _ended(record: Record, now: int) -> Record:
    """Add a callback, if the bot wants one and the request has ended otherwise than the bot was told last."""
    if not record.calls_back or not record.has_ended:
        return record
    told = [each.cause for each in record.callbacks if not isinstance(each.cause, Handled)]
    last = told[-1].status if told and isinstance(told[-1], End) else None
    if last is record.status:
        return record
    return tell(record, End(record.status, now), now)


def tell(record: Record, cause: End | Handled, now: int) -> Record:
    """Add a callback with this content."""
    name = f"{CALLBACK}-{len(record.callbacks) + 1}"
    return publish(with_delivery(record, Delivery(name, CALLBACK, Kind.CALLBACK, cause)), name, now=now)


def _sent_as(record: Record, result: str) -> tuple[Delivery, Attempt] | None:
    """The attempt whose message has this id at the provider, and its delivery."""
    found = ((delivery, delivery.sent_as(result)) for delivery in record.deliveries)
    return next(((delivery, attempt) for delivery, attempt in found if attempt), None)


def with_delivery(record: Record, delivery: Delivery) -> Record:
    """The record with this delivery, in the place of the one of that name if there is one."""
    if record.delivery(delivery.name) is None:
        return replace(record, deliveries=(*record.deliveries, delivery))
    changed = tuple(delivery if each.name == delivery.name else each for each in record.deliveries)
    return replace(record, deliveries=changed)


def _with_attempt(delivery: Delivery, attempt: Attempt) -> Delivery:
    return replace(delivery, attempts=tuple(attempt if each.id == attempt.id else each for each in delivery.attempts))


def wanted(record: Record, delivery: Delivery, now: int) -> Record:
    """The record with this delivery in the outbox, needed for the first time, or again after it was cancelled."""
    return publish(with_delivery(record, replace(delivery, wanted_since=now)), delivery.name, now=now)


def _marked_unneeded(record: Record, delivery: Delivery, now: int) -> Record:
    """The record with this delivery cancelled: nobody sends it unless it is needed again."""
    if delivery.is_locked(now):
        return record
    after = replace(_ended_by(delivery, now), due_at=None, waiting_for=None)
    return record if after == delivery else with_delivery(record, after)


def _ended_by(delivery: Delivery, now: int) -> Delivery:
    """The delivery, without an attempt under way if that has died by now."""
    if not delivery.is_under_way or delivery.is_locked(now):
        return delivery
    # What it has sent has arrived by the end of its claim.
    died = replace(delivery.attempts[-1], ended_at=delivery.locked_until)
    return replace(delivery, attempts=(*delivery.attempts[:-1], died))
