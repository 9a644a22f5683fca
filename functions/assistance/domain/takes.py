"""Events that follow a delivery: a human takes or releases the request, nobody takes it in time, an operator erases it.

    take ──▶ release          a human takes the request, and gives it back
    escalate                  nobody has taken the request in time: it goes to the fallback's channel too
    erase                     the customer's texts are erased: the request is not sent any more

The functions are pure, and applying one twice has the same effect as once, as `transitions.py` explains.
"""

from dataclasses import replace
from typing import Final

from assistance.domain.record import Attempt, Delivery, Handled, Handling, Kind, Outcome, Record, Take, Untaken
from assistance.domain.transitions import escalated_again, is_expected, sent, tell, told_at, wanted, with_delivery

ESCALATION: Final = "escalation"


def take(
    record: Record,
    take_id: str,
    *,
    by: str,
    via: str,
    now: int,
    delivery: str | None = None,  # whose message the human used: it has evidently arrived, so it is not sent again
    result: str | None = None,  # the provider's id of that message
    place: str | None = None,  # where on the channel that message is, if it is known
    published: bool = False,  # True if the request is published, which the record does not know
) -> tuple[Record, Take]:
    """A human takes the request. Also returns the take in force: an earlier human's, unless that was released."""
    record = arrived(record, delivery, take_id, result, now=now, place=place)
    earlier = next((each for each in record.takes if each.id == take_id), None)
    if counts := record.taken or earlier:
        return record, counts
    new = Take(take_id, by, via, told_at(record, now))
    record = replace(record, takes=(*record.takes, new))
    return _told(record, Handled(Handling.TAKEN, by, via, record.status_shown(published=published), new.at)), new


def release(record: Record, take_id: str, *, by: str, via: str, now: int, published: bool = False) -> Record:
    """Undo the take with that id, so that another human can take the request. A take with another id stays in force.

    `published`: as for `take`.
    """
    taken = record.taken
    if taken is None or taken.id != take_id:
        return record
    at = told_at(record, now)
    released = replace(record, takes=(*record.takes[:-1], replace(taken, released_at=at)))
    after = escalated_again(record, released, now)
    return _told(after, Handled(Handling.RELEASED, by, via, after.status_shown(published=published), at))


def escalate(record: Record, *, now: int) -> Record:
    """Decide once whether to escalate a request that nobody has taken in time.

    The request goes to its fallback, unless its route has none, or it has already arrived on the fallback's channel.
    """
    at = record.decides_at
    if at is None or at > now:
        return record
    record = replace(record, escalate_at=None)
    if record.fallback is None or not record.wants_escalation:
        return record
    cause = Untaken((at - record.created_at) // 60_000)
    return wanted(record, Delivery(ESCALATION, record.fallback, Kind.ESCALATION, cause), now)


def erase(record: Record, *, now: int) -> Record | None:
    """Note that the customer's texts are erased, so that no attempt sends the request from now on.

    Returns None if a message of the request is on its way: a human would get it with the texts, or without any text.
    """
    if record.erased_at is not None:
        return record
    to_humans = (delivery for delivery in record.deliveries if delivery.kind is not Kind.CALLBACK)
    if record.unfinished or any(each.is_locked(now) or is_expected(each, now) for each in to_humans):
        return None
    return replace(record, erased_at=now, escalate_at=None)


def arrived(
    record: Record, name: str | None, take_id: str, result: str | None, *, now: int, place: str | None = None
) -> Record:
    """Record the delivery `name` as delivered, since a human has used its message, with the id `result`, in `place`."""
    delivery = record.delivery(name)
    if delivery is None:
        return record
    doubts = delivery.doubts
    if not doubts and any(attempt.outcome is Outcome.DELIVERED for attempt in delivery.attempts):
        return record
    # A failed attempt in doubt stays failed, because a fallback may have been sent instead.
    open_doubts = [attempt.id for attempt in doubts if attempt.outcome is not Outcome.FAILED]
    if not open_doubts:
        proof = Attempt(take_id, now, found=True)
        record = with_delivery(record, replace(delivery, attempts=(*delivery.attempts, proof)))
    used = (open_doubts or [take_id])[-1]
    return sent(record, delivery.name, used, result, now=now, place=place, by_human=True)


def _told(record: Record, what: Handled) -> Record:
    return tell(record, what, what.at) if record.calls_back else record
