"""The functions that change a record: one pure function for each event.

Each takes the record, the event's data and the time, and returns the new record, with an answer if the caller needs
one. A function that changes nothing returns the very object that it was given, so the store writes nothing. Applying a
function twice has the same effect as once, because the SDK repeats a write if the answer was lost.

    claim ──▶ sent            the provider took the message
          ──▶ put_off         the provider has not tried to send, because of its rate limit, say
          ──▶ retry_later     the attempt failed, and another follows
          ──▶ gave_up         the attempt failed for good; its message lies in the dead-letter queue
    dead_lettered             the reconciler found the message in a dead-letter queue
    returned                  SES reports that a mail bounced or was rejected
    confirmed                 SES reports that the recipient's mail server took a mail
    resend                    an operator sends the request once more
    publish, published        a delivery enters the outbox, and leaves it when SNS has accepted its message
    queued, first_published   messages have reached their queues, so their attempts are due from then on
    watch                     a delivery is still to be made, so the reconciler checks the request until all are made

`takes.py` has the events of a delivered request: take, release, escalate and erase.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter
from typing import Final

from assistance.domain.record import Attempt, Delivery, End, Entry, Handled, Kind, Outcome, Record, StandsInFor, Status

CALLBACK: Final = "callback"
FALLBACK: Final = "fallback"
# If no consumer has received a message this long after its attempt was due, it is in a dead-letter queue, or lost.
_LATE_MS: Final = 900_000
# The reconciler checks each new request a last time 15 minutes after its acceptance. Clocks may differ by some minutes.
_NEW_MS: Final = 600_000


class Refused(StrEnum):
    """Why a consumer does not get the claim. It acknowledges the message, unless the delivery is `BUSY`."""

    DELIVERED = "it is delivered already"
    NOT_NEEDED = "the request has arrived otherwise, a human has it by now, or a later callback says more"
    UNKNOWN = "the request has expired, or never had this delivery"
    ERASED = "the customer's texts are erased"
    BUSY = "another attempt is under way or in doubt, or another delivery goes first"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one attempt. Its holder ends it by `sent`, `put_off`, `retry_later` or `gave_up`."""

    number: int  # the attempt's number in the present budget of attempts, counted from 1
    doubts: tuple[Attempt, ...]  # the earlier attempts whose messages may have arrived: first search for them
    exhausted: bool = False  # True if the last attempt of the budget died: the holder must give up without another


def first(request: Record) -> Record:
    """Complete a new request's record: a delivery for each of its channels, and no fallback that is one of them."""
    own = tuple(Delivery(name, name, Kind.OWN) for name in request.channels)
    # A fallback must be another channel than the request's own.
    fallback = None if request.fallback in request.channels else request.fallback
    return replace(request, fallback=fallback, deliveries=own)


def same_request(existing: Record, fresh: Record) -> Record | None:
    """The record to change: the existing one, or `fresh` if the existing one is of an earlier request with that id.

    An id may be used again once its request has expired, and DynamoDB may keep an expired record for days. Returns
    None if `fresh`, which the caller computed from a message, belongs to the earlier request.
    """
    if existing.created_at == fresh.created_at:
        return existing
    return replace(fresh, version=existing.version) if existing.created_at < fresh.created_at else None


def claim(
    record: Record, name: str, attempt: str, *, now: int, until: int, limit: int, place: str | None = None
) -> tuple[Record, Claim | Refused]:
    """Claim the delivery `name` for the attempt with that id, until `until` at most. Returns the claim, or why not.

    `limit`: how many attempts are made before the consumer gives up. `place`: where on the channel this attempt posts.
    One write stores the claim, for all channels, so a fallback and a redrive never both send.
    """
    delivery = record.delivery(name)
    if delivery is None:
        return record, Refused.UNKNOWN
    if delivery.holds(attempt):
        # The answer to this attempt's own write was lost, so the SDK has repeated the write.
        return record, _claimed(record, delivery, now)
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
    if (late := now - (delivery.due_at or now) - _LATE_MS) > 0:
        # The consumer was off, or its queue is long. Nobody knows whether the provider would have refused meanwhile, so
        # only 15 minutes of the delay count.
        limited_since = delivery.limited_since
        claimed = replace(claimed, limited_at=limited_since + late if limited_since else 0)
    if claimed.wanted_since > now:
        # An operator's command has written that time, with a clock that is fast.
        claimed = replace(claimed, wanted_since=now)
    return with_delivery(record, claimed), _claimed(record, claimed, now)


def sent(
    record: Record,
    name: str,
    attempt: str,
    result: str | None,
    *,
    now: int,
    place: str | None = None,
    by_human: bool = False,
) -> Record:
    """Record that the provider took the message, with the id `result`, even if a later attempt holds the claim.

    `place`: where a search or a human has found the message, since an earlier attempt may have sent it elsewhere; None
    if this attempt sent it. `by_human`: True if a human has used it, so that this or a later attempt may be running.
    """
    delivery = record.delivery(name)
    if delivery is None:
        return record
    mine = next((each for each in delivery.attempts if each.id == attempt), Attempt(attempt, now))
    if mine.outcome is Outcome.DELIVERED:
        return record
    done = replace(mine, outcome=Outcome.DELIVERED, error=None, in_doubt=False, ended_at=now, result=result)
    done = replace(done, place=place or mine.place)
    others = tuple(each for each in delivery.attempts if each.id != attempt)
    # An attempt that is running may still send, so the request must not be erased before the claim ends.
    is_over = delivery.holds(attempt) and not by_human
    until = 0 if is_over else delivery.locked_until
    after = replace(delivery, attempts=(*others, done), locked_until=until, due_at=None, waiting_for=None, alone=False)
    watched = record.watched or record.escalate_at is not None
    return _ended(escalated_again(record, replace(with_delivery(record, after), watched=watched), now), now)


def put_off(record: Record, name: str, attempt: str, code: str, *, now: int, due: int, alone: bool = False) -> Record:
    """Remove an attempt that `code` kept from sending. Another is due at `due`, alone in its message if `alone`."""
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
        limited_at=delivery.limited_since or now,
        alone=delivery.alone or alone,
    )
    return with_delivery(record, after)


def retry_later(
    record: Record,
    name: str,
    attempt: str,
    code: str,
    *,
    now: int,
    in_doubt: bool,
    due: int,
    settles: int,
    limited: bool = False,
) -> Record:
    """Record that the attempt failed with the error `code`, and that another is due at `due`.

    `settles`: the time from which on a message in doubt has arrived, or never will. `limited`: a rate limit has put the
    delivery off for so long that this attempt counts. Any other failure ends the time in which it is put off.
    """
    delivery = record.delivery(name)
    if delivery is None or not delivery.holds(attempt):
        return record
    over = _over(delivery, Outcome.RETRYING, code, now=now, in_doubt=in_doubt, settles=settles)
    return with_delivery(record, replace(over, due_at=due, limited_at=over.limited_at if limited else 0))


def gave_up(record: Record, name: str, attempt: str, code: str, *, now: int, in_doubt: bool, settles: int) -> Record:
    """Record that the attempt failed for good, with `code`. From the time `settles` on, no message in doubt arrives."""
    delivery = record.delivery(name)
    if delivery is None or not delivery.holds(attempt):
        return record
    over = _over(delivery, Outcome.FAILED, code, now=now, in_doubt=in_doubt, settles=settles)
    return _failed(record, with_delivery(record, over), over, code, now)


def dead_lettered(record: Record, name: str, letter: str, code: str, *, now: int) -> Record:
    """Record an unfinished delivery as failed, because its message, with the id `letter`, is in a dead-letter queue.

    The reconciler also calls this if the channel is no longer deployed; `letter` is then a new id.
    """
    delivery = record.delivery(name)
    if delivery is None or delivery.final or delivery.is_locked(now):
        return record
    found = Attempt(letter, now, Outcome.FAILED, error=code, ended_at=now, found=True)
    attempts = (*_ended_by(delivery, now).attempts, found)
    after = replace(delivery, attempts=attempts, due_at=None, waiting_for=None)
    return _failed(record, with_delivery(record, after), after, code, now)


def returned(record: Record, result: str, code: str, *, now: int) -> Record:
    """Record that the message with the id `result` failed after the provider had taken it, because it bounced, say."""
    found = record.sent_as(result)
    if found is None or found[1].returned_at is not None:
        return record

    def came_back(attempt: Attempt) -> Attempt:
        return replace(attempt, returned_at=now, error=code) if attempt.result == result else attempt

    # A resend that version 1 has made holds the same attempt as the delivery that it repeats.
    deliveries = tuple(replace(each, attempts=tuple(map(came_back, each.attempts))) for each in record.deliveries)
    return _failed(record, replace(record, deliveries=deliveries, watched=True), found[0], code, now)


def confirmed(record: Record, result: str, *, at: int) -> Record:
    """Record that the recipient's mail server took the mail with the id `result` (at the provider) at the time `at`."""
    found = record.sent_as(result)
    if found is None:
        return record
    delivery, attempt = found
    if attempt.confirmed_at is not None and attempt.confirmed_at >= at:
        return record
    return with_delivery(record, _with_attempt(delivery, replace(attempt, confirmed_at=at)))


def resend(record: Record, name: str, destination: str, *, now: int) -> Record | None:
    """An operator sends the request to `destination` once more, as a new delivery with that name.

    Returns None if the request is erased, or if another message of it is on its way there (by a redrive, say).
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
    """Put the delivery into the outbox, because its message is new, or was lost from its queue."""
    others = tuple(entry for entry in record.outbox if entry.delivery != name)
    deliveries = tuple(_ended_by(each, now) if each.name == name else each for each in record.deliveries)
    return replace(record, deliveries=deliveries, outbox=(*others, Entry(name, now)))


def is_expected(delivery: Delivery, now: int) -> bool:
    """Whether a message may be on its way: an attempt is being made, is due, or was due less than 15 minutes ago."""
    at = delivery.expected_at or 0
    return at > 0 and at + _LATE_MS > now


def published(record: Record, entries: Iterable[Entry], *, now: int) -> Record:
    """Remove the entries that SNS has accepted from the outbox, but no later entry of the same delivery."""
    done = frozenset(entries)
    left = tuple(entry for entry in record.outbox if entry not in done)
    if left == record.outbox:
        return record
    names = {entry.delivery for entry in record.outbox if entry in done}
    return replace(queued(record, names, now=now), outbox=left)


def queued(record: Record, names: Collection[str], *, now: int) -> Record:
    """Record that messages of the named deliveries have now reached their queues, so attempts are due from now on.

    A delivery that is not needed any more stays without a next attempt: a consumer may have dropped its message by now.
    """
    deliveries = tuple(
        replace(each, due_at=max(now, each.due_at or 0))
        if each.name in names
        and each.final is None
        and not each.is_under_way
        and _refusal(record, each, now) is not Refused.NOT_NEEDED
        else each
        for each in record.deliveries
    )
    return record if deliveries == record.deliveries else replace(record, deliveries=deliveries)


def first_published(record: Record, *, at: int) -> Record:
    """Record that the request itself was published at the time `at`: attempts without another time are due since then.

    The stored record may lack this time: a consumer may have computed it from a message, or a publisher has died. Then
    the first attempts would be due since the request's acceptance, and the request could seem to be lost.
    """
    untried = {each.name for each in record.deliveries if each.kind is Kind.OWN and not (each.attempts or each.due_at)}
    return queued(record, untried, now=at)


def watch(record: Record) -> Record:
    """Make the reconciler check the request until all its deliveries are made, unless they are made already."""
    return replace(record, watched=True) if record.awaited and not record.watched else record


def _refusal(record: Record, delivery: Delivery, now: int) -> Refused | None:
    if delivery.final is Outcome.DELIVERED:
        return Refused.DELIVERED
    if record.erased_at is not None and delivery.kind is not Kind.CALLBACK:
        return Refused.ERASED
    if delivery.kind is Kind.CALLBACK and delivery is not record.series_of(delivery)[-1]:
        # A later callback reports a newer status, or a newer take or release.
        return Refused.NOT_NEEDED
    if delivery.kind is Kind.ESCALATION and not record.wants_escalation:
        return Refused.NOT_NEEDED
    stands_in = delivery.kind is Kind.FALLBACK or (delivery.kind is Kind.OWN and delivery.final)
    if stands_in and (record.reached(delivery.destination) or not record.wants_fallback):
        return Refused.NOT_NEEDED
    is_busy = delivery.is_locked(now) or any(_goes_first(other, delivery, now) for other in record.deliveries)
    return Refused.BUSY if is_busy else None


def _goes_first(other: Delivery, delivery: Delivery, now: int) -> bool:
    """Whether `delivery` (a fallback, a redrive or an escalation) must wait, because `other` may still arrive."""
    may_arrive = other.final is None or other.is_locked(now)
    match other.kind, delivery.kind:
        case Kind.FALLBACK, Kind.OWN:
            return may_arrive and bool(delivery.final)
        case Kind.RESEND, Kind.OWN | Kind.FALLBACK if other.destination == delivery.destination:
            return may_arrive and (delivery.kind is Kind.FALLBACK or bool(delivery.final))
        case (Kind.FALLBACK, Kind.ESCALATION) | (Kind.ESCALATION, Kind.FALLBACK):
            return other.is_locked(now)
        case Kind.OWN, Kind.FALLBACK:
            return other.final is Outcome.FAILED and other.is_locked(now)
    return False


def _is_exhausted(delivery: Delivery, limit: int) -> bool:
    died = bool(delivery.attempts) and delivery.attempts[-1].outcome is Outcome.UNKNOWN
    return died and delivery.attempts_used >= limit


def _claimed(record: Record, delivery: Delivery, now: int) -> Claim:
    before = replace(delivery, attempts=delivery.attempts[:-1])
    # The fallback and the escalation show the same request on the same channel, where it must not appear twice.
    others = (each for each in record.deliveries if {each.kind, delivery.kind} == {Kind.FALLBACK, Kind.ESCALATION})
    doubts = (*(doubt for other in others for doubt in _ended_by(other, now).doubts), *before.doubts)
    # The last attempt is in doubt only if `claim` has marked it as one that died, which this claim only gives up.
    return Claim(delivery.attempts_used, doubts, exhausted=delivery.attempts[-1].in_doubt)


def _over(delivery: Delivery, outcome: Outcome, code: str, *, now: int, in_doubt: bool, settles: int) -> Delivery:
    last = delivery.attempts[-1]
    last = replace(last, outcome=outcome, error=code, in_doubt=in_doubt or last.in_doubt, ended_at=now)
    over = replace(delivery, attempts=(*delivery.attempts[:-1], last))
    return replace(over, locked_until=settles if over.doubts else 0)


def _failed(before: Record, record: Record, delivery: Delivery, code: str, now: int) -> Record:
    """Add the fallback, escalation or callback that this failure requires. `before`: the record before the failure."""
    destination = record.fallback
    own_failed = delivery.destination in record.channels and record.status is Status.FAILED
    fallback = record.delivery(FALLBACK)
    if destination and own_failed and fallback is None and record.erased_at is None:
        fallback = Delivery(FALLBACK, destination, Kind.FALLBACK, StandsInFor(delivery.destination, code))
        record = with_delivery(record, fallback)
    is_fallback = delivery.kind is Kind.FALLBACK
    if fallback and not is_fallback and record.wants_fallback and not before.wants_fallback:
        # Publish the fallback, for the first time, or again if a consumer has dropped its message as no longer needed.
        # If it is the fallback itself that bounced, it is not published again: it waits for its redrive.
        failed = max(record.unreached, key=attrgetter("final_at"))
        errors = [attempt.error for attempt in failed.attempts if attempt.lasting is Outcome.FAILED]
        cause = StandsInFor(failed.destination, errors[-1] or "")
        record = wanted(record, replace(fallback, cause=cause), now)
    return _ended(escalated_again(before, record, now), now)


def _ended(record: Record, now: int) -> Record:
    """Add a callback if the request has a final status, unless the bot wants none or was last told of this status."""
    if not record.calls_back or not record.has_ended:
        return record
    told = [each.cause.status for each in record.callbacks if isinstance(each.cause, End)]
    if told[-1:] == [record.status]:
        return record
    return tell(record, End(record.status, told_at(record, now)), now)


def told_at(record: Record, now: int) -> int:
    """The time of an event that a callback is to report: now, but later than the events of all earlier callbacks.

    Bots order callbacks by these times. Two functions may read their clocks in another order than they write the
    record, and the clock of an operator's computer may be slow or fast.
    """
    earlier = (each.cause.at for each in record.callbacks if isinstance(each.cause, End | Handled))
    return max(now, 1 + max(earlier, default=0))


def tell(record: Record, cause: End | Handled, now: int) -> Record:
    """Add a callback that tells the bot of `cause`, and put it into the outbox."""
    name = f"{CALLBACK}-{len(record.callbacks) + 1}"
    # The reconciler's checks of new requests find a callback of a request's first minutes, without a further write.
    watched = record.watched or now > record.created_at + _NEW_MS
    record = replace(with_delivery(record, Delivery(name, CALLBACK, Kind.CALLBACK, cause)), watched=watched)
    return publish(record, name, now=now)


def with_delivery(record: Record, delivery: Delivery) -> Record:
    """The record with this delivery, which replaces a delivery of the same name."""
    if record.delivery(delivery.name) is None:
        return replace(record, deliveries=(*record.deliveries, delivery))
    changed = tuple(delivery if each.name == delivery.name else each for each in record.deliveries)
    return replace(record, deliveries=changed)


def _with_attempt(delivery: Delivery, attempt: Attempt) -> Delivery:
    return replace(delivery, attempts=tuple(attempt if each.id == attempt.id else each for each in delivery.attempts))


def wanted(record: Record, delivery: Delivery, now: int) -> Record:
    """The record with this delivery in the outbox. The delivery is new, or is needed again after it was cancelled.

    Attempts that were made before do not count towards the limit of attempts.
    """
    # An operator's clock may be slow, so these times may be later than now.
    latest = max((delivery.put_off_at, delivery.limited_at, *(attempt.at for attempt in delivery.attempts)))
    return publish(with_delivery(record, replace(delivery, wanted_since=max(now, latest + 1))), delivery.name, now=now)


def escalated_again(before: Record, record: Record, now: int) -> Record:
    """The record with its escalation in the outbox, if the escalation is needed again since `before`.

    A consumer may have dropped its message, because somebody had taken the request or it was not delivered.
    """
    escalation = next((each for each in record.unfinished if each.kind is Kind.ESCALATION), None)
    return wanted(record, escalation, now) if escalation and not before.wants_escalation else record


def _marked_unneeded(record: Record, delivery: Delivery, now: int) -> Record:
    """The record with this delivery cancelled: no attempt at it is due, until it is needed again."""
    after = replace(_ended_by(delivery, now), due_at=None, waiting_for=None)
    return record if after == delivery else with_delivery(record, after)


def _ended_by(delivery: Delivery, now: int) -> Delivery:
    """The delivery. If its last attempt died (its claim expired without an outcome), that attempt gets `ended_at`."""
    if not delivery.is_under_way or delivery.is_locked(now):
        return delivery
    # If the attempt has sent a message, that has arrived by the end of the claim.
    died = replace(delivery.attempts[-1], ended_at=delivery.locked_until)
    return replace(delivery, attempts=(*delivery.attempts[:-1], died))
