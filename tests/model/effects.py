"""What each event must record, in every state of a record.

The model drops values that no event compares, such as times and error codes. So these checks first put such values
into the record. They also apply events that can't happen in the model.
"""

from dataclasses import replace
from typing import Any

from assistance.domain.record import (
    MAX_TAKES,
    Attempt,
    Delivery,
    End,
    Entry,
    Kind,
    Outcome,
    Record,
    StandsInFor,
    Status,
    Take,
)
from assistance.domain.transitions import FALLBACK
from tests.model.result_cache import Memory
from tests.model.world import ATTEMPTS, LOCKED, NOW

DUE = 5
"""When the next attempt is due after an attempt that failed."""


def broken_by_effects(record: Record, core: Memory) -> str | None:
    """What an event fails to record or records wrongly, as a sentence. None if every event records what it must."""
    wrong = _broken_by_unknown_names(record, core) or _broken_by_new_requests(record, core)
    for delivery in () if wrong else record.deliveries:
        waiting = replace(delivery, due_at=1, waiting_for="rate limit", alone=True)
        wrong = (
            wrong
            or _broken_by_claim(record, delivery, core)
            or _broken_by_waiting(record, delivery, core)
            or _broken_by_sent(_with(record, waiting), waiting, core)
            or _broken_by_put_offs(_with(record, waiting), waiting, core)
            or _broken_by_failures(_with(record, waiting), waiting, core)
            or _broken_by_publication(record, delivery, core)
            or _broken_by_takes(record, delivery, core)
        )
    return (
        wrong
        or _broken_by_reports(record, core)
        or _broken_by_operators(record, core)
        or _broken_by_erasure(record, core)
        or _broken_by_slow_clock(record, core)
        or _broken_by_late_callbacks(record, core)
    )


def _broken_by_late_callbacks(record: Record, core: Memory) -> str | None:
    """Check that the reconciler looks for a callback that is added after its checks of new requests."""
    for age, is_new in ((600_000, True), (600_001, False)):
        told = core.tell(replace(record, created_at=NOW - age), End(Status.DELIVERED, NOW), NOW)
        if told.watched is not (record.watched or not is_new):
            return "the reconciler looks for no callback of an old request, or writes more for one of a new request"
    return None


def _broken_by_unknown_names(record: Record, core: Memory) -> str | None:
    """Check that events of another request, or of a delivery that the record does not have, do not change it."""
    failure: dict[str, Any] = {"now": 0, "in_doubt": True, "settles": 9}
    afters = (
        core.sent(record, "unknown", "gone", "late", now=0),
        core.put_off(record, "unknown", "gone", "late", now=0, due=0),
        core.retry_later(record, "unknown", "gone", "late", due=0, **failure),
        core.gave_up(record, "unknown", "gone", "late", **failure),
        core.dead_lettered(record, "unknown", "letter", "dead", now=0),
        core.returned(record, "unknown", "bounce", now=0),
        core.confirmed(record, "unknown", at=0),
        core.published(record, (Entry("unknown", 0),), now=NOW),
        core.queued(record, ("unknown",), now=NOW),
        core.same_request(record, record),
    )
    _, answer = core.claim(record, "unknown", "new", now=NOW, until=LOCKED, limit=ATTEMPTS)
    if any(after is not record for after in afters) or answer is not core.Refused.UNKNOWN:
        return "an event of a delivery that the record does not have changes the record"
    return None


def _broken_by_new_requests(record: Record, core: Memory) -> str | None:
    expired = replace(record, created_at=record.created_at - 1, version=7)
    if core.same_request(record, expired) is not None or core.same_request(expired, record).version != 7:
        return "an event takes an expired request with the same id for this one"
    new = replace(record, deliveries=())
    first, without = core.first(new), core.first(replace(new, fallback=record.channels[0]))
    if tuple(each.name for each in first.deliveries) != record.channels or first.fallback != record.fallback:
        return "a new request has other deliveries, or another fallback, than its route names"
    return "a new request has one of its own channels as a fallback" if without.fallback is not None else None


def _broken_by_claim(record: Record, delivery: Delivery, core: Memory) -> str | None:
    """Check what a claim changes, also if the message was published again, and if a fast clock started the delivery."""
    name, died = delivery.name, [each.outcome for each in delivery.attempts[-1:]] == [Outcome.UNKNOWN]
    started = replace(delivery, due_at=1, waiting_for="rate limit", wanted_since=NOW + 1)
    for limit in (1, ATTEMPTS):
        how = {"now": NOW, "until": LOCKED, "limit": limit}
        after, answer = core.claim(core.publish(record, name, now=NOW), name, "new", **how)
        changed = core.claim(_with(record, started), name, "new", **how)[0]
        claimed, again = _delivery(changed, name), core.claim(changed, name, "new", **how)[0]
        is_dropped = answer in {core.Refused.NOT_NEEDED, core.Refused.ERASED}
        if is_dropped and ((claimed.due_at, claimed.waiting_for) != (None, None) or again is not changed):
            return f"{name} is dropped, and still waits for an attempt, or is dropped twice"
        if not isinstance(answer, core.Claim):
            continue
        if not _delivery(after, name).holds("new"):
            return f"a worker that has claimed {name} does not hold the claim"
        if answer.exhausted is not (died and delivery.attempts_used >= limit):
            return f"a claim of {name} says wrongly whether its attempts are used up"
        if (claimed.due_at, claimed.waiting_for, claimed.wanted_since) != (None, None, NOW):
            return f"a claim of {name} leaves its times as they were"
        earlier = replace(started, put_off_at=NOW, limited_at=NOW)
        present = replace(earlier, wanted_since=NOW)
        for before, late_ms, since in ((present, 900_000, NOW), (present, 900_001, NOW + 1), (earlier, 900_001, 0)):
            put_off = replace(before, due_at=NOW - late_ms)
            late = _delivery(core.claim(_with(record, put_off), name, "new", **how)[0], name)
            if (late.put_off_at, late.limited_at) != (NOW, since):
                return f"a late attempt of {name} moves the beginning of the rate limit by too little or too much"
    return None


def _broken_by_waiting(record: Record, delivery: Delivery, core: Memory) -> str | None:
    """Check that the delivery waits for a resend on its channel if it is the fallback, and not without a reason."""
    how = {"now": NOW, "until": LOCKED, "limit": ATTEMPTS}
    if core.claim(record, delivery.name, "new", **how)[1] is core.Refused.BUSY and not _may_wait(record, delivery):
        return f"{delivery.name} waits for nothing"
    resent = Delivery("resend-8", delivery.destination, Kind.RESEND)
    _, answer = core.claim(replace(record, deliveries=(*record.deliveries, resent)), delivery.name, "new", **how)
    if delivery.kind is Kind.FALLBACK and isinstance(answer, core.Claim):
        return "the fallback does not wait for a resend on its channel"
    return None


def _may_wait(record: Record, delivery: Delivery) -> bool:
    """Whether an attempt at the delivery may have to wait: for its lock, or for another delivery."""
    if delivery.locked_until or delivery.kind not in {Kind.OWN, Kind.FALLBACK}:
        return True
    if delivery.kind is Kind.OWN:
        return delivery.final is not None
    return any(
        each.kind in {Kind.RESEND, Kind.ESCALATION} or (each.final is Outcome.FAILED and each.locked_until)
        for each in record.deliveries
    )


def _broken_by_sent(record: Record, delivery: Delivery, core: Memory) -> str | None:
    """Check what the record says after the provider took the message of the last attempt."""
    for last in delivery.attempts[-1:]:
        failed = replace(last, error="down", in_doubt=last.outcome is not Outcome.DELIVERED)
        before = _with(record, replace(delivery, attempts=(*delivery.attempts[:-1], failed)))
        after = core.sent(before, delivery.name, last.id, "message", now=NOW)
        if after is before:
            continue
        now, is_over = _delivery(after, delivery.name), delivery.is_under_way
        if now.attempts[-1] != Attempt(last.id, last.at, Outcome.DELIVERED, last.place, ended_at=NOW, result="message"):
            return f"the attempt that delivered {delivery.name} has another outcome, or wrong times"
        if (now.due_at, now.waiting_for, now.alone) != (None, None, False):
            return f"{delivery.name} is delivered, but still waits for an attempt"
        if now.locked_until != (0 if is_over else delivery.locked_until):
            return f"{delivery.name} is delivered, and its lock is wrong"
        if after.watched is not (record.watched or record.escalate_at is not None):
            return "the reconciler does not look at a request that somebody must take"
        found = _delivery(core.sent(before, delivery.name, last.id, "message", now=NOW, place="B"), delivery.name)
        if found.attempts[-1] != replace(now.attempts[-1], place="B"):
            return f"the record names another place for the message of {delivery.name} than the search"
    return None


def _broken_by_put_offs(record: Record, delivery: Delivery, core: Memory) -> str | None:
    """Check what the record says after a rate limit has put off the attempt under way, and then another."""
    name, together = delivery.name, replace(delivery, alone=False)
    for before, given in ((delivery, {}), (together, {}), (together, {"alone": True})):
        if not delivery.is_under_way:
            continue
        attempt = delivery.attempts[-1].id
        off = core.put_off(_with(record, before), name, attempt, "limit", now=NOW, due=DUE, **given)
        waits = replace(before, attempts=delivery.attempts[:-1], locked_until=0, due_at=DUE, waiting_for="limit")
        waits = replace(waits, put_off_at=NOW, limited_at=NOW, alone=before.alone or bool(given))
        claimed = replace(waits, attempts=delivery.attempts, locked_until=LOCKED, due_at=None, waiting_for=None)
        again = core.put_off(_with(record, claimed), name, attempt, "limit", now=NOW + 1, due=DUE, **given)
        if _delivery(off, name) != waits or _delivery(again, name) != waits:
            return f"{name} does not wait as its worker said, or not since it was first put off"
    return None


def _broken_by_failures(record: Record, delivery: Delivery, core: Memory) -> str | None:
    """Check what the record says after the last attempt did not succeed, or its message became a dead letter."""
    name, code = delivery.name, "down"
    failure: dict[str, Any] = {"now": NOW, "in_doubt": False, "settles": LOCKED}
    for last in delivery.attempts[-1:] if delivery.is_under_way else ():
        over = core.gave_up(record, name, last.id, code, **failure)
        put_off = _with(record, replace(delivery, put_off_at=NOW, limited_at=NOW))
        later = _delivery(core.retry_later(put_off, name, last.id, code, due=DUE, **failure), name)
        limited = _delivery(core.retry_later(put_off, name, last.id, code, due=DUE, limited=True, **failure), name)
        for outcome, after in ((Outcome.RETRYING, later), (Outcome.FAILED, _delivery(over, name))):
            if after.attempts[-1] != replace(last, outcome=outcome, error=code, ended_at=NOW):
                return f"the attempt that failed to send {name} is not {outcome}, or has a wrong error or time"
            if after.locked_until != (LOCKED if after.doubts else 0):
                return f"the next attempt of {name} waits too long, or not until its message has arrived"
        if later.due_at != DUE or [(it.put_off_at, it.limited_at) for it in (later, limited)] != [(NOW, 0), (NOW, NOW)]:
            return f"the next attempt of {name} is due at {later.due_at}, or an earlier rate limit counts wrongly"
        fallback = over.delivery(FALLBACK)
        is_new = fallback and delivery.kind is Kind.OWN and fallback != record.delivery(FALLBACK)
        if is_new and fallback.cause != StandsInFor(delivery.destination, code):
            return f"the fallback says {fallback.cause}, not that {name} has failed"
    dead = core.dead_lettered(record, name, "letter", "dead", now=NOW)
    found = _delivery(dead, name)
    expected = Attempt("letter", NOW, Outcome.FAILED, error="dead", ended_at=NOW, found=True)
    if dead is not record and (found.attempts[-1], found.due_at, found.waiting_for) != (expected, None, None):
        return f"{name} has a dead letter, but has not failed, or still waits for an attempt"
    return None


def _broken_by_publication(record: Record, delivery: Delivery, core: Memory) -> str | None:
    """Check when an attempt is due after the delivery's message was published."""
    name = delivery.name
    others = [each for each in core.publish(record, name, now=NOW).deliveries if each.name != name]
    if others != [each for each in record.deliveries if each.name != name]:
        return f"the publication of {name} changes another delivery"
    for entry in record.outbox:
        left = tuple(each for each in record.outbox if each != entry)
        expected = replace(core.queued(record, (entry.delivery,), now=NOW), outbox=left)
        if core.published(record, (entry,), now=NOW) != expected:
            return f"{entry.delivery} is published, but its attempt is not due, or it is still in the outbox"
    _, answer = core.claim(record, name, "new", now=NOW, until=LOCKED, limit=ATTEMPTS)
    comes = delivery.final is None and not delivery.is_under_way and answer is not core.Refused.NOT_NEEDED
    for due in (None, NOW - 1, NOW + 1):
        before = _with(record, replace(delivery, due_at=due))
        after, known = core.queued(before, (name,), now=NOW), core.first_published(before, at=NOW)
        is_first = delivery.kind is Kind.OWN and not delivery.attempts and due is None
        expected_at = (max(NOW, due or 0) if comes else due, NOW if is_first else due)
        if (_delivery(after, name).due_at, _delivery(known, name).due_at) != expected_at:
            return f"an attempt of {name} is due at the wrong time after its message was published"
        if (after is before) is not (not comes or due == NOW + 1):
            return f"the publication of {name} is recorded without need, or not at all"
    at = (delivery.locked_until if delivery.is_under_way else NOW) or NOW
    is_expected = [core.is_expected(replace(delivery, due_at=NOW), at + late) for late in (0, 900_000 - 1, 900_000)]
    if is_expected != [delivery.locked_until > 0 or not delivery.is_under_way] * 2 + [False]:
        return f"the message of {name} is expected too long, or not long enough"
    return None


def _broken_by_takes(record: Record, delivery: Delivery, core: Memory) -> str | None:
    """Check what the record says after somebody used the delivery's message to take the request."""
    how = {"by": "Anna", "via": "slack", "now": NOW}
    after, _ = core.take(record, "press", delivery=delivery.name, result="message", place="B", **how)
    attempts = _delivery(after, delivery.name).attempts
    open_doubts = [each.id for each in delivery.doubts if each.outcome is not Outcome.FAILED]
    arrived = next((each for each in attempts if each not in delivery.attempts), None)
    expected = ((open_doubts or ["press"])[-1], not open_doubts, "B")
    is_known = arrived is None and not open_doubts and any(each.outcome is Outcome.DELIVERED for each in attempts)
    if not is_known and (arrived is None or (arrived.id, arrived.found, arrived.place) != expected):
        return f"a human has used the message of {delivery.name}, which the record does not say, or of a wrong attempt"
    for published in (False, True):
        given = {"published": True} if published else {}
        taken, _ = core.take(record, "press", **how, **given)
        events = [taken] if record.taken is None else [core.release(record, record.taken.id, **how, **given)]
        told = [event.callbacks[-1].cause.status for event in events if event.callbacks and record.calls_back]
        if any(status is not record.status_shown(published=published) for status in told):
            return "the bot is told another status than people see"
    return None


def _broken_by_reports(record: Record, core: Memory) -> str | None:
    """Check what the record says after a mail came back, or a mail server took it: there the latest time counts."""
    for delivery in record.deliveries:
        for result in {attempt.result for attempt in delivery.attempts if attempt.result}:
            times, after = [], record
            returned = core.returned(record, result, "bounce", now=NOW)
            attempt = returned.sent_as(result)[1]
            if returned is not record and (attempt.error, attempt.returned_at) != ("bounce", NOW):
                return f"the record does not say why a mail of {delivery.name} came back"
            if returned is not record and not returned.watched:
                return f"a mail of {delivery.name} came back, and the reconciler does not look at the request"
            others = [each for each in _delivery(returned, delivery.name).attempts if each.result != result]
            if others != [each for each in delivery.attempts if each.result != result]:
                return f"a mail of {delivery.name} came back, and another attempt has changed"
            for at in (5, 4, 6):
                before, after = after, core.confirmed(after, result, at=at)
                times.append(after.sent_as(result)[1].confirmed_at)
                if at == 4 and after is not before:
                    return "an earlier report about a mail changes the record"
            if times != [5, 5, 6]:
                return f"mail servers took the mail of {delivery.name} at {times}"
    return None


def _broken_by_operators(record: Record, core: Memory) -> str | None:
    """Check that a repeated resend changes nothing, and that the reconciler looks at requests that are not finished."""
    after = core.resend(record, "resend-9", record.channels[0], now=NOW)
    if after is not None and core.resend(after, "resend-9", record.channels[0], now=NOW) is not after:
        return "a resend that the SDK repeats changes the record again"
    if after is not None and not after.watched:
        return "the reconciler does not look at a resend"
    watched = core.watch(record)
    if watched.watched is not (record.watched or bool(record.awaited)):
        return "the reconciler does not look at an unfinished request, or at a finished one"
    if watched is not record and record.watched:
        return "the record changes again although the reconciler already looks at the request"
    taken = [replace(record, takes=(Take("t", "Anna", "slack", 1),) * takes) for takes in (MAX_TAKES - 1, MAX_TAKES)]
    return None if [each.is_released_too_often for each in taken] == [False, True] else "the limit of takes is wrong"


def _broken_by_erasure(record: Record, core: Memory) -> str | None:
    """Check that an operator can erase the request exactly if no message of it to a human is on its way."""
    to_humans = [each for each in record.deliveries if each.kind is not Kind.CALLBACK]
    may_be_erased = not record.unfinished and not any(each.locked_until for each in to_humans)
    if (core.erase(record, now=NOW) is not None) is not (may_be_erased or record.erased_at is not None):
        return f"an operator {'can not' if may_be_erased else 'can'} erase the request"
    due = (_with(record, replace(each, due_at=NOW)) for each in to_humans if not each.is_under_way)
    if record.erased_at is None and any(core.erase(each, now=NOW) is not None for each in due):
        return "an operator can erase the request although an attempt is due"
    return None


def _broken_by_slow_clock(record: Record, core: Memory) -> str | None:
    """Check that a delivery that a release starts again has all its attempts, though the operator's clock is slow."""
    if record.taken is None:
        return None
    for limited_at in (0, NOW + 2):
        late = [
            replace(
                each,
                put_off_at=NOW + 1,
                limited_at=limited_at,
                attempts=tuple(replace(attempt, at=NOW + 1) for attempt in each.attempts),
            )
            for each in record.deliveries
        ]
        before = replace(record, deliveries=tuple(late))
        after = core.release(before, record.taken.id, by="Anna", via="slack", now=NOW)
        for entry in after.outbox:
            delivery = _delivery(after, entry.delivery)
            earlier = delivery.attempts_used or delivery.put_off_since or delivery.limited_since
            if entry not in record.outbox and earlier:
                return f"{delivery.name} is wanted again, and earlier attempts count"
    return None


def _delivery(record: Record, name: str) -> Delivery:
    return next(each for each in record.deliveries if each.name == name)


def _with(record: Record, delivery: Delivery) -> Record:
    deliveries = tuple(delivery if each.name == delivery.name else each for each in record.deliveries)
    return replace(record, deliveries=deliveries)
