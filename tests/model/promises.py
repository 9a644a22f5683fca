"""The invariants that every state of the model and every step must keep.

The checks read the attempts and the messages that people have received, but not a record's properties, which they
check as well.
"""

from dataclasses import replace

from assistance.domain.record import (
    Attempt,
    Delivery,
    End,
    Handled,
    Kind,
    Outcome,
    Record,
    StandsInFor,
    Status,
)
from assistance.domain.takes import ESCALATION
from assistance.domain.transitions import CALLBACK, FALLBACK
from tests.model.result_cache import Memory
from tests.model.world import ATTEMPTS, LOCKED, NOW, RANK, SEARCHABLE, World


def broken_by_step(before: Record, after: Record, step: str) -> str | None:
    """The invariant that this step violates, or None."""
    was, now = before.status, after.status
    if RANK[now] < RANK[was] and step != "its return is recorded":
        return f"the status moved back from {was} to {now}"
    if before.watched and not after.watched:
        return "the reconciler no longer looks at it"
    wrong = (
        _broken_by_final_statuses(before, after)
        or _broken_by_claims(before, step)
        or _broken_by_calls(before, step)
        or _broken_by_wants(before, after, step)
        or _broken_by_fallback_again(before, after, step)
        or _broken_by_takes(before, after, step)
    )
    wrong = wrong or _broken_by_callbacks(before, after) or _broken_by_times_of_callbacks(before, after)
    return wrong or _broken_by_erasure(before, after, step)


def _broken_by_final_statuses(before: Record, after: Record) -> str | None:
    """Check that final statuses stay, and that their time is that of the step. The step's time is later than before."""
    for delivery in before.deliveries:
        later = after.delivery(delivery.name)
        if later is None:
            return f"{delivery.name} is gone"
        if _final(delivery) and not _final(later):
            return f"{delivery.name} has no final status any more"
        has_changed = _final(delivery) is not _final(later) or _arrived(delivery) is not _arrived(later)
        if has_changed and later.final_at != NOW:
            return f"{delivery.name} has its final status since {later.final_at}, not since now"
        if has_changed and _counts_an_earlier_refusal(later):
            return f"{delivery.name} has its final status, but still waits because of an earlier rate limit"
    return None


def _broken_by_claims(before: Record, step: str) -> str | None:
    """Check that no redrive is claimed if its channel was reached, or while a resend there may make it unnecessary."""
    for delivery in before.deliveries:
        is_claimed = delivery.kind is Kind.OWN and _final(delivery) and step.endswith(f"claims {delivery.name}")
        same = [each for each in before.deliveries if each.destination == delivery.destination]
        if is_claimed and any(map(_arrived, same)):
            return f"a redrive of {delivery.name} is claimed although its channel was reached"
        if is_claimed and any(each.kind is Kind.RESEND and not _final(each) for each in same):
            return f"a redrive of {delivery.name} is claimed although a resend is on its way"
    return None


def _broken_by_calls(before: Record, step: str) -> str | None:
    """Check that the bot gets the latest callback about final statuses, the latest about takes, and no older one."""
    overtaken = [callback.name for series in _series(before) for callback in series[:-1]]
    if any(step.endswith(f"claims {name}") for name in overtaken):
        return "a worker claims a callback although a later one exists"
    latest = [series[-1].name for series in _series(before) if series]
    if any(step.endswith(f"acknowledges {name}: NOT_NEEDED") for name in latest):
        return "the bot gets no callback about the latest event"
    return None


def _broken_by_erasure(before: Record, after: Record, step: str) -> str | None:
    """Check that an erased request stays erased, gets no fallback, and is not escalated."""
    if before.erased_at is None:
        return None
    if after.erased_at is None:
        return "what was erased reads as if it were not"
    if step == "a sweep escalates":
        return "an erased request is escalated"
    is_new = after.delivery(FALLBACK) and not before.delivery(FALLBACK)
    return "an erased request has got a fallback" if is_new else None


def _broken_by_wants(before: Record, after: Record, step: str) -> str | None:
    """Check that a delivery that the step starts again has all its attempts, and does not count as being sent."""
    is_lost = step.startswith("a sweep finds") and step.endswith("lost")
    wanted = {entry.delivery for entry in after.outbox if entry not in before.outbox and "producer" not in step}
    for delivery in after.deliveries:
        earlier = before.delivery(delivery.name)
        if earlier and delivery.name not in wanted and delivery.wanted_since != earlier.wanted_since:
            return f"{delivery.name} gets a new budget of attempts although nothing has started it again"
        marked_unneeded = step.endswith(
            (f"acknowledges {delivery.name}: NOT_NEEDED", f"acknowledges {delivery.name}: ERASED")
        )
        if (marked_unneeded or delivery.name in wanted) and delivery.is_under_way and not delivery.locked_until:
            return f"{delivery.name} reads as being sent, which nobody does"
        if is_lost or delivery.name not in wanted:
            continue
        if delivery.attempts_used:
            return f"{delivery.name} is wanted again, and has not all its attempts"
        if earlier and _counts_an_earlier_refusal(delivery):
            return f"{delivery.name} is wanted again, and still waits because of an earlier rate limit"
        match delivery.cause:
            case StandsInFor(channel, error) if error is None or not _is_unreached(after, channel):
                return f"{delivery.name} stands in for {channel}, which has not failed, or it does not say why"
    return None


def _counts_an_earlier_refusal(delivery: Delivery) -> bool:
    refused = replace(delivery, put_off_at=NOW - 1, limited_at=NOW - 1)
    return (refused.put_off_since, refused.limited_since) != (None, None)


def _is_unreached(record: Record, channel: str) -> bool:
    own = record.delivery(channel)
    there = (delivery for delivery in record.deliveries if delivery.destination == channel)
    return own is not None and _has_failed(own) and not any(map(_arrived, there))


def _broken_by_takes(before: Record, after: Record, step: str) -> str | None:
    """Check that nobody takes a request from its taker, and that no taken request is escalated."""
    had, has = _holder(before), _holder(after)
    if [take.id for take in after.takes[: len(before.takes)]] != [take.id for take in before.takes]:
        return "a take is gone"
    if had and has != had and step not in {f"{had} releases it", f"{had} releases it, and the answer is lost"}:
        return f"{had} has it, and loses it"
    if step.startswith("the SDK repeats") and has != had:
        return "a repeated write changes who has it"
    if had and (step == "a sweep escalates" or step.endswith("claims escalation")):
        return "it is escalated although a human has it"
    if step == "a sweep escalates" and (before.escalate_at is None or after.escalate_at is not None):
        return "it is escalated twice"
    return None


def _holder(record: Record) -> str | None:
    return next((take.id for take in record.takes[-1:] if take.released_at is None), None)


def _series(record: Record) -> tuple[list[Delivery], list[Delivery]]:
    """The callbacks about final statuses, and those about takes."""
    callbacks = [delivery for delivery in record.deliveries if delivery.kind is Kind.CALLBACK]
    return (
        [callback for callback in callbacks if isinstance(callback.cause, End)],
        [callback for callback in callbacks if isinstance(callback.cause, Handled)],
    )


def _broken_by_callbacks(before: Record, after: Record) -> str | None:
    """Check that the step adds a callback exactly if it ends the request with another status than last reported."""
    earlier, later = (_callback_statuses(record) for record in (before, after))
    if not after.calls_back:
        return "a bot without a callback_url gets a callback" if later else None
    if later[: len(earlier)] != earlier:
        return "the callbacks about an earlier status have changed"
    ended = {
        later.kind
        for earlier, later in zip(before.deliveries, after.deliveries, strict=False)
        if _outcomes(earlier) != _outcomes(later) and not (_has_come_back(earlier, later) and _arrived(later))
    }
    if ended - {Kind.CALLBACK} and _has_ended(after) and earlier[-1:] != [_status(after)]:
        return (
            None
            if len(later) > len(earlier) and later[-1] is _status(after)
            else "the bot gets no callback about a final status"
        )
    return "the bot gets a callback although nothing has ended" if later != earlier else None


def _broken_by_times_of_callbacks(before: Record, after: Record) -> str | None:
    """Check that a new callback has a later time than all earlier ones, and that people see the same time of a take."""
    times = [callback.cause.at for callback in after.callbacks if isinstance(callback.cause, End | Handled)]
    for number in range(len(before.callbacks), len(times)):
        if times[number] <= max(times[:number], default=0):
            return "a bot that orders the callbacks by their times believes an earlier one"
    if after.takes != before.takes and after.calls_back:
        last = after.takes[-1]
        if times[-1:] != [last.released_at or last.at]:
            return "the bot is told another time of a take or release than people see"
    return None


def _callback_statuses(record: Record) -> list[Status]:
    return [delivery.cause.status for delivery in record.deliveries if isinstance(delivery.cause, End)]


def _outcomes(delivery: Delivery) -> list[tuple[Outcome, bool]]:
    return [(each.outcome, each.returned_at is not None) for each in delivery.attempts if each.outcome in _FINAL]


def _has_come_back(earlier: Delivery, later: Delivery) -> bool:
    return [outcome for outcome, _ in _outcomes(earlier)] == [outcome for outcome, _ in _outcomes(later)]


_FINAL = (Outcome.DELIVERED, Outcome.FAILED)


def _arrived(delivery: Delivery) -> bool:
    return any(each.outcome is Outcome.DELIVERED and each.returned_at is None for each in delivery.attempts)


def _has_failed(delivery: Delivery) -> bool:
    return any(each.outcome is Outcome.FAILED or each.returned_at is not None for each in delivery.attempts)


def _final(delivery: Delivery) -> bool:
    return _arrived(delivery) or _has_failed(delivery)


def _of_request(record: Record) -> list[Delivery]:
    return [delivery for delivery in record.deliveries if delivery.name in {*record.channels, FALLBACK}]


def _status(record: Record) -> Status:
    """The request's status, computed from the attempts alone."""
    reached = {delivery.destination for delivery in record.deliveries if _arrived(delivery)}
    mine = _of_request(record)
    if reached.issuperset(record.channels) or (mine[-1].name == FALLBACK and record.fallback in reached):
        return Status.DELIVERED
    if any(_has_failed(delivery) for delivery in mine):
        return Status.FAILED
    if any(delivery.waiting_for or _last(delivery) is Outcome.RETRYING for delivery in mine):
        return Status.RETRYING
    return Status.SENDING if any(delivery.attempts for delivery in mine) else Status.ACCEPTED


def _last(delivery: Delivery) -> Outcome | None:
    return delivery.attempts[-1].outcome if delivery.attempts else None


def _pending(record: Record) -> list[str]:
    """The unfinished deliveries of the request, without a fallback that a resend has made unnecessary."""
    if _status(record) is Status.DELIVERED:
        return []
    is_needed = record.erased_at is None and any(_is_unreached(record, channel) for channel in record.channels)
    needless = set() if is_needed else {FALLBACK}
    return [each.name for each in _of_request(record) if each.name not in needless and not _final(each)]


def _broken_by_fallback_again(before: Record, after: Record, step: str) -> str | None:
    """Check when a step publishes the fallback or the escalation again, which a consumer may have dropped before."""
    new = {entry.delivery for entry in after.outbox if entry not in before.outbox and "producer" not in step}
    earlier, later = before.delivery(FALLBACK), after.delivery(FALLBACK)
    if earlier and later and FALLBACK in new and not step.endswith("lost"):
        if _wants_fallback(before):
            return "the fallback is sent again although it was needed before"
        if _arrived(earlier) and not _arrived(later):
            return "the fallback is sent again because its own mail has come back"
    escalation = after.delivery(ESCALATION)
    is_wanted_again = not _wants_escalation(before) and _wants_escalation(after)
    if escalation and not _final(escalation) and is_wanted_again and ESCALATION not in new:
        return "the escalation is needed again, but is not sent"
    was_wanted = before.delivery(ESCALATION) and _wants_escalation(before)
    if was_wanted and ESCALATION in new and not step.endswith("lost"):
        return "the escalation is sent again although it was needed before"
    return None


def _wants_fallback(record: Record) -> bool:
    has_arrived = any(_arrived(delivery) for delivery in record.deliveries if delivery.destination == record.fallback)
    needs_it = any(_is_unreached(record, channel) for channel in record.channels)
    return needs_it and not has_arrived and record.erased_at is None


def _has_ended(record: Record) -> bool:
    return RANK[_status(record)] >= RANK[Status.FAILED] and not _pending(record)


def broken(world: World, memory: Memory) -> str | None:
    """The invariant that this state violates, or None."""
    posted = tuple(name for name, _ in world.posts)
    wrong = memory.once(_broken_by_record)(world.record, memory)
    wrong = wrong or memory.once(_broken_by_proofs)(world.record, world.seen)
    wrong = wrong or memory.once(_broken_by_posts)(world.record, posted, world.excused, world.sure)
    return wrong or (
        memory.once(_broken_at_rest)(world.record, world.dead_letters, memory)
        if world.is_quiet and not world.expired
        else None
    )


def _broken_by_record(record: Record, core: Memory) -> str | None:
    """Check that the record's properties agree with its attempts, and that late events do not change it."""
    events = len(record.takes) + sum(take.released_at is not None for take in record.takes)
    if len(_series(record)[1]) != (events if record.calls_back else 0):
        return "the bot does not get a callback about each take and release"
    wrong = _broken_by_status(record) or _broken_by_unfinished(record) or _broken_by_fallback(record)
    wrong = wrong or next(filter(None, map(_broken_by_attempts, record.deliveries)), None)
    return wrong or _broken_by_late_writes(record, core) or _broken_by_escalation(record, core)


def _broken_by_status(record: Record) -> str | None:
    if record.status is not _status(record):
        return f"the status is {record.status}, not {_status(record)}"
    shown = Status.PUBLISHED if record.status is Status.ACCEPTED else record.status
    if (record.status_shown(published=True), record.status_shown(published=False)) != (shown, record.status):
        return f"people do not see the status {shown}"
    if record.has_ended is not _has_ended(record) or (record.end is not None) is not _has_ended(record):
        return "the record is wrong about whether the request has ended"
    return None


def _broken_by_unfinished(record: Record) -> str | None:
    if [delivery.name for delivery in record.pending] != _pending(record):
        return "other deliveries are on their way than the record says"
    resends = [each.name for each in record.deliveries if each.name.startswith("resend") and not _final(each)]
    if _wants_escalation(record):
        resends = [each.name for each in record.deliveries if each.name in {*resends, ESCALATION} and not _final(each)]
    if [delivery.name for delivery in record.unfinished] != [*_pending(record), *resends]:
        return "the reconciler looks at other deliveries than those that need it"
    last = [series[-1].name for series in _series(record) if series and not _final(series[-1])]
    if sorted(delivery.name for delivery in record.awaited) != sorted([*_pending(record), *resends, *last]):
        return "the reconciler looks at an old callback, or not at one that the bot needs"
    if record.due_at != _due_at(record):
        return f"the reconciler looks at the request at {record.due_at}, not at {_due_at(record)}"
    return None


def _due_at(record: Record) -> int | None:
    """When the reconciler must look at the request next, computed from the attempts and locks alone."""
    if not record.watched:
        return None
    if record.awaited:
        times = (each.locked_until if _is_running(each) else each.due_at for each in record.awaited)
        return min(at or record.created_at for at in times)
    return record.escalate_at if _status(record) is Status.DELIVERED and not _holder(record) else None


def _is_running(delivery: Delivery) -> bool:
    return any(each.outcome is Outcome.UNKNOWN and each.ended_at is None for each in delivery.attempts[-1:])


def _wants_escalation(record: Record) -> bool:
    reached = {delivery.destination for delivery in record.deliveries if _arrived(delivery)}
    is_due = _status(record) is Status.DELIVERED and record.erased_at is None
    return is_due and record.fallback not in reached and not _holder(record)


def _broken_by_escalation(record: Record, core: Memory) -> str | None:
    """Check that a sweep escalates a request if nobody has taken it in time, and only then."""
    if record.escalate_at is None or record.delivery(ESCALATION):
        return None
    if core.escalate(record, now=record.escalate_at - 1) is not record:
        return "a sweep escalates it before its time is over"
    is_escalated = core.escalate(record, now=NOW).delivery(ESCALATION) is not None
    if is_escalated is not (record.fallback is not None and _wants_escalation(record)):
        return f"a sweep {'escalates it without need' if is_escalated else 'does not escalate it'}"
    return None


def _broken_by_proofs(record: Record, seen: tuple[str, ...]) -> str | None:
    """Check that deliveries by whose message a person took the request (`seen`) count as delivered or bounced."""
    for name in seen:
        delivery = record.delivery(name)
        if delivery and not _arrived(delivery) and all(each.returned_at is None for each in delivery.attempts):
            return f"a human has taken it by {name}, which does not count as delivered"
    return None


def _broken_by_fallback(record: Record) -> str | None:
    """Check that there is a fallback only if a channel has failed, and always if a request fails that is not erased."""
    failed = any(_has_failed(delivery) for delivery in _of_request(record) if delivery.name != FALLBACK)
    if record.delivery(FALLBACK) and not (failed and record.fallback):
        return "there is a fallback although no channel has failed"
    is_wanted = record.fallback and record.erased_at is None and _status(record) is Status.FAILED
    if failed and is_wanted and not record.delivery(FALLBACK):
        return "a channel has failed and there is no fallback"
    return None


def _broken_by_attempts(delivery: Delivery) -> str | None:
    if [each.id for each in delivery.doubts] != [each.id for each in _doubts(delivery)]:
        return f"the doubts about {delivery.name} contradict its attempts"
    if delivery.attempts_used != _used(delivery):
        return f"{delivery.name} counts {delivery.attempts_used} attempts, not {_used(delivery)}"
    if delivery.waiting_for and delivery.is_under_way:
        return f"{delivery.name} waits for an attempt although one is under way"
    if delivery.final_at and not _final(delivery):
        return f"{delivery.name} has the time of a final status, but no final status"
    return None


def _doubts(delivery: Delivery) -> list[Attempt]:
    """The attempts after the last delivered one whose messages may have arrived."""
    known = [number for number, each in enumerate(delivery.attempts, 1) if each.outcome is Outcome.DELIVERED]
    later = delivery.attempts[max(known, default=0) :]
    return [each for each in later if each.in_doubt or each.outcome is Outcome.UNKNOWN]


def _used(delivery: Delivery) -> int:
    """How many attempts were made since the last one that delivered or failed, and since the delivery was wanted."""
    earlier = (
        number
        for number, each in enumerate(delivery.attempts, 1)
        if each.outcome in _FINAL or each.at < delivery.wanted_since
    )
    return len(delivery.attempts) - max(earlier, default=0)


def _broken_by_late_writes(record: Record, core: Memory) -> str | None:
    """Check that late, repeated and unknown events do not change the record, and which resends it allows."""
    for delivery in record.deliveries:
        name = delivery.name
        late = (
            core.put_off(record, name, "gone", "late", now=0, due=0),
            core.retry_later(record, name, "gone", "late", now=0, in_doubt=True, due=0, settles=9),
            core.gave_up(record, name, "gone", "late", now=0, in_doubt=True, settles=9),
        )
        if any(after is not record for after in late):
            return f"a worker whose claim on {name} has passed on changes the record"
        kept = core.dead_lettered(record, name, "letter", "dead", now=0) is record
        if kept is not (_final(delivery) or delivery.locked_until > 0):
            return f"a dead letter of {name} {'counts for nothing' if kept else 'overrules its attempts'}"
        for attempt in delivery.attempts:
            came_back = attempt.result and attempt.returned_at is not None
            if came_back and core.returned(record, attempt.result, "bounce", now=0) is not record:
                return f"{name} comes back twice"
    for channel in record.channels:
        refused = core.resend(record, "resend-9", channel, now=0) is None
        own = record.delivery(channel)
        is_tried = own is not None and own.is_under_way and own.locked_until > 0
        if refused is not (channel in _pending(record) or is_tried or record.erased_at is not None):
            return f"a resend by {channel} is {'refused' if refused else 'not refused'}"
    return None


def _broken_by_posts(record: Record, posted: tuple[str, ...], excused: tuple[str, ...], sure: bool) -> str | None:  # noqa: FBT001
    both = {FALLBACK, ESCALATION}
    for delivery in record.deliveries:
        # A search for the message of one of these two also finds the message of the other.
        names = both if delivery.name in both and delivery.destination == SEARCHABLE else {delivery.name}
        if wrong := _broken_by_delivery(delivery, sum(map(posted.count, names)), excused.count(delivery.name)):
            return f"{delivery.name} {wrong}"
    if both <= set(posted) and not both & set(excused):
        return "the fallback's channel has it twice although nothing was in doubt"
    own, fallback = (
        [delivery for delivery in record.deliveries if delivery.kind is kind and delivery.name in posted]
        for kind in (Kind.OWN, Kind.FALLBACK)
    )
    if sure and fallback and len(own) == len(record.channels):
        return "the fallback was sent although all channels were, and nothing was in doubt"
    return None


def _broken_by_delivery(delivery: Delivery, times: int, excused: int) -> str | None:
    if delivery.destination == SEARCHABLE and times > 1:
        return f"was posted {times} times"
    if times > 1 + excused:
        return f"arrived {times} times without any doubt"
    if delivery.attempts_used > ATTEMPTS:
        return f"was attempted {delivery.attempts_used} times"
    if (delivery.final is Outcome.DELIVERED) is not _arrived(delivery):
        return f"has the final status {delivery.final}, which its attempts contradict"
    return "is delivered, but nobody has received it" if _arrived(delivery) and not times else None


def _broken_at_rest(record: Record, dead_letters: tuple[str, ...], core: Memory) -> str | None:
    last = [callback for series in _series(record) for callback in series[-1:]]
    # An erased request cannot be redriven.
    mine = _of_request(record) if record.erased_at is None else []
    # A consumer may have dropped a redrive of a channel's message before the mail of the fallback bounced.
    fallback_bounced = any(map(_has_bounced, mine[len(record.channels) :]))
    for delivery in (*mine, *last):
        failed = _has_failed(delivery) and not record.reached(delivery.destination)
        missed = failed and (delivery in last or _status(record) is Status.FAILED)
        may_be_dropped = fallback_bounced and delivery.kind is Kind.OWN
        if missed and delivery.name not in dead_letters and not may_be_dropped:
            return f"{delivery.name} has failed and its message is in no dead-letter queue"
    if mine and _status(record) is Status.FAILED and not _can_redrive(record, dead_letters, core):
        return "it has failed, and a consumer would drop a redrive of each of its dead letters"
    if record.calls_back and _has_ended(record) and _callback_statuses(record)[-1:] != [_status(record)]:
        return f"no callback says that the request is {record.status}"
    return None


def _can_redrive(record: Record, dead_letters: tuple[str, ...], core: Memory) -> bool:
    how = {"now": NOW, "until": LOCKED, "limit": ATTEMPTS}
    answers = (core.claim(record, name, "redrive", **how)[1] for name in dead_letters if not name.startswith(CALLBACK))
    return any(isinstance(answer, core.Claim) or answer is core.Refused.BUSY for answer in answers)


def _has_bounced(delivery: Delivery) -> bool:
    return any(each.returned_at is not None for each in delivery.attempts)
