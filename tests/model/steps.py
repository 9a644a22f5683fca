"""All steps that are possible in a world. Each calls the same function as on AWS to change the record."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from assistance.domain.record import Delivery, Kind, Outcome, Record
from assistance.domain.takes import ESCALATION
from assistance.domain.transitions import CALLBACK, FALLBACK
from tests.model.result_cache import Memory
from tests.model.world import ATTEMPTS, LOCKED, NOW, SEARCHABLE, Report, Worker, World

Step = tuple[str, World]


class Violation(Exception):
    """A transition violates an invariant."""


def steps(world: World, core: Memory) -> Iterator[Step]:
    """All possible next steps, each with its name and the world after it."""
    yield from _publishing(world, core)
    yield from _receiving(world, core)
    for worker in world.workers:
        rest = world._replace(workers=_without(world.workers, worker))
        yield from _working(world, rest, worker, core)
        if world.crash:
            yield (
                f"{worker.id} dies",
                _back(rest, worker, excused=worker.step == "record")._replace(crash=world.crash - 1),
            )
    yield from _time(world, core)
    if world.expired:
        return
    if world.expire:
        yield "the request expires", world._replace(expire=0, expired=True)
    yield from _people(world, core)
    yield from _takes(world, core)
    yield from _feedback(world, core)
    yield from _reconciler(world, core)


def _publishing(world: World, core: Memory) -> Iterator[Step]:
    if world.unpublished:
        sent = world._replace(queue=_plus(world.queue, *world.record.channels))
        yield "the producer publishes the request", sent._replace(unpublished=False)
        if world.duplicate:
            yield "the producer publishes the request and dies", sent._replace(duplicate=world.duplicate - 1)
        if world.lose:
            yield "SNS loses the request", world._replace(unpublished=False, lose=world.lose - 1)
    if world.record.outbox and not world.marking:
        names = [entry.delivery for entry in world.record.outbox]
        marking = world._replace(marking=world.record.outbox)
        yield f"the producer publishes {', '.join(names)}", marking._replace(queue=_plus(world.queue, *names))
        if world.lose:
            yield f"SNS loses {', '.join(names)}", marking._replace(lose=world.lose - 1)
    if world.marking:
        after = core.published(world.record, world.marking, now=NOW)
        for delivery in after.deliveries:
            _, answer = core.claim(after, delivery.name, "new", now=NOW, until=LOCKED, limit=ATTEMPTS)
            if delivery.due_at and answer is core.Refused.NOT_NEEDED:
                raise Violation(f"an attempt of {delivery.name} is due, which nobody needs")
        yield "the producer marks them published", world._replace(record=after, marking=())
        if world.duplicate:
            yield "the producer dies before it marks them", world._replace(marking=(), duplicate=world.duplicate - 1)


def _receiving(world: World, core: Memory) -> Iterator[Step]:
    for name in sorted(set(world.queue)):
        if world.duplicate:
            yield (
                f"SQS delivers {name} twice",
                world._replace(queue=_plus(world.queue, name), duplicate=world.duplicate - 1),
            )
        if world.lose:
            yield (
                f"SQS moves {name} to the dead-letter queue",
                world._replace(
                    queue=_without(world.queue, name), dead_letters=_plus(world.dead_letters, name), lose=world.lose - 1
                ),
            )
        if world.expired:
            yield f"the expired {name} is acknowledged", world._replace(queue=_without(world.queue, name))
            continue
        if len(world.workers) <= 1:
            yield from _claiming(world, name, core)


def _claiming(world: World, name: str, core: Memory) -> Iterator[Step]:
    attempt = "b" if any(worker.id == "a" for worker in world.workers) else "a"
    how = {"now": NOW, "until": LOCKED, "limit": ATTEMPTS, "place": world.place}
    record, answer = core.claim(world.record, name, attempt, **how)
    rest = world._replace(queue=_without(world.queue, name), record=record)
    if answer is core.Refused.BUSY:
        if record is not world.record:
            raise Violation(f"a worker that has to wait for {name} changes the record")
        return
    if isinstance(answer, core.Refused):
        yield f"{attempt} acknowledges {name}: {answer.name}", rest
        return
    if record.erased_at is not None and not name.startswith(CALLBACK):
        raise Violation(f"{name} is sent although what the request said is erased")
    again, same_answer = core.claim(record, name, attempt, **how)
    if again is not record or same_answer != answer:
        raise Violation("a claim that the SDK repeats gets another answer")
    search_in = tuple(sorted({str(doubt.place) for doubt in answer.doubts}))
    worker = Worker(name, attempt, "letter" if answer.exhausted else "send", answer.number, search_in)
    yield f"{attempt} claims {name}", rest._replace(workers=_plus(world.workers, worker))


def _goes_on(world: World, worker: Worker, step: str, **changes: Any) -> World:  # noqa: ANN401
    """Add the worker to the world, which lacks it, with `step` as its next action and with these changes."""
    return world._replace(workers=_plus(world.workers, worker._replace(step=step, **changes)))


def _working(world: World, rest: World, worker: Worker, core: Memory) -> Iterator[Step]:
    match worker.step:
        case "send":
            yield from _sending(rest, worker, core)
        case "record":
            yield from _recording(rest, worker, core)
        case "failed" if worker.number < ATTEMPTS:
            how = {"now": NOW, "in_doubt": worker.in_doubt, "due": 0, "settles": LOCKED}
            record = core.retry_later(world.record, worker.delivery, worker.id, "down", **how)
            after = record.delivery(worker.delivery)
            if after and after.holds(worker.id):
                raise Violation(f"{worker.id} will retry {worker.delivery} later, and still holds the claim")
            later = rest._replace(record=record, queue=_plus(rest.queue, worker.delivery))
            yield f"{worker.id} will retry {worker.delivery}", later
            if world.fault:
                yield f"{worker.id} can't record the failure", _back(rest, worker)._replace(fault=world.fault - 1)
        case "failed" | "letter":
            dead = rest._replace(dead_letters=_plus(rest.dead_letters, worker.delivery))
            yield f"{worker.id} dead-letters {worker.delivery}", _goes_on(dead, worker, "give up")
        case "give up":
            yield from _giving_up(rest, worker, core)


def _recording(rest: World, worker: Worker, core: Memory) -> Iterator[Step]:
    name, attempt, now = worker.delivery, worker.id, NOW
    before = rest.record.delivery(name)
    result = f"{name}.{sum(each.outcome is Outcome.DELIVERED for each in before.attempts) if before else 0}"
    record = core.sent(rest.record, name, attempt, result, now=now)
    if core.sent(record, name, attempt, result, now=now) is not record:
        raise Violation("a delivery that the SDK records again changes the record again")
    recorded = record.delivery(name)
    if not recorded or recorded.final is not Outcome.DELIVERED:
        raise Violation(f"{name} was recorded as delivered and is not delivered")
    yield f"{attempt} records {name} as delivered", rest._replace(record=record)
    if rest.fault:
        fault = rest.fault - 1
        yield f"{attempt} can't record {name}", _back(rest, worker, excused=True)._replace(fault=fault)
        again = rest._replace(record=record, queue=_plus(rest.queue, name), fault=fault)
        yield f"{attempt} records {name}, and the answer to the write is lost", again


def _giving_up(rest: World, worker: Worker, core: Memory) -> Iterator[Step]:
    how = {"now": NOW, "in_doubt": worker.in_doubt, "settles": LOCKED}
    record = core.gave_up(rest.record, worker.delivery, worker.id, "refused", **how)
    if core.gave_up(record, worker.delivery, worker.id, "refused", **how) is not record:
        raise Violation("a failure that the SDK records again changes the record again")
    yield f"{worker.id} records {worker.delivery} as failed", rest._replace(record=record)
    if rest.fault:
        yield f"{worker.id} can't record the end", _back(rest, worker)._replace(fault=rest.fault - 1)


def _sending(rest: World, worker: Worker, core: Memory) -> Iterator[Step]:
    name, attempt = worker.delivery, worker.id
    delivery = rest.record.delivery(name)
    assert delivery
    names = {FALLBACK, ESCALATION} if name in {FALLBACK, ESCALATION} else {name}
    found = any((each, place) in rest.posts for each in names for place in worker.search_in)
    if delivery.destination == SEARCHABLE and found:
        yield f"{attempt} looks {name} up and finds it posted", _goes_on(rest, worker, "record")
        return
    system = (name, str(delivery.attempts[-1].place))
    posted = rest._replace(posts=_plus(rest.posts, system))
    yield f"{attempt} sends {name}", _goes_on(posted, worker, "record")
    if not rest.fault:
        return
    troubled = rest._replace(fault=rest.fault - 1)
    yield f"the provider refuses {name} for good", _goes_on(troubled, worker, "letter")
    yield f"the provider refuses {name} for now", _goes_on(troubled, worker, "failed")
    for alone in (False, True):
        record = core.put_off(rest.record, name, attempt, "ratelimited", now=NOW, due=0, alone=alone)
        after = record.delivery(name)
        if after is None or after.is_under_way:
            raise Violation("an attempt that was put off leaves an attempt under way")
        if after.final is not Outcome.DELIVERED and {after.put_off_since, after.limited_since} != {NOW}:
            raise Violation(f"{name} waits since {after.put_off_since}, not since it was put off")
        put_off = troubled._replace(record=record, queue=_plus(rest.queue, name))
        yield f"{attempt} puts {name} off{', to send it alone' if alone else ''}", put_off
    yield f"{attempt} may not have sent {name}", _goes_on(troubled, worker, "failed", in_doubt=True)
    unsure = troubled._replace(sure=False, excused=_plus(rest.excused, name))
    arrived = unsure._replace(posts=posted.posts)
    yield f"{attempt} sends {name}, and the answer is lost", _goes_on(arrived, worker, "failed", in_doubt=True)
    late = unsure._replace(late=_plus(rest.late, system))
    yield f"{attempt} sends {name}, and the provider is slow", _goes_on(late, worker, "failed", in_doubt=True)


def _time(world: World, core: Memory) -> Iterator[Step]:
    for system in sorted(set(world.late)):
        arrived = world._replace(late=_without(world.late, system), posts=_plus(world.posts, system))
        yield f"{system[0]} arrives late", arrived
    for delivery in world.record.deliveries:
        if not delivery.locked_until or any(name == delivery.name for name, _ in world.late):
            continue
        ended = world._replace(record=core.once(_unlocked)(world.record, delivery.name))
        steps_of_holders = [worker.step for worker in world.workers if worker.delivery == delivery.name]
        if not steps_of_holders:
            yield f"the lock on {delivery.name} ends", ended
        elif world.slow and steps_of_holders == ["record"]:
            # The function's last write had not returned when the function ended, and still takes effect.
            unsure = ended._replace(sure=False, excused=_plus(world.excused, delivery.name), slow=world.slow - 1)
            yield f"the lock on {delivery.name} ends before its worker has recorded it", unsure


def _unlocked(record: Record, name: str) -> Record:
    return replace(
        record,
        deliveries=tuple(replace(each, locked_until=0) if each.name == name else each for each in record.deliveries),
    )


def _people(world: World, core: Memory) -> Iterator[Step]:
    for name in sorted(set(world.dead_letters)) if world.redrive else ():
        taken = world._replace(dead_letters=_without(world.dead_letters, name), redrive=world.redrive - 1)
        yield f"the operator redrives {name}", taken._replace(queue=_plus(world.queue, name))
    if world.resend:
        name, channel = f"resend-{world.resend}", world.record.channels[0]
        record = core.resend(world.record, name, channel, now=NOW)
        if record is not None:
            yield "the operator resends", world._replace(record=record, resend=world.resend - 1)
    if world.erase and (record := core.erase(world.record, now=NOW)) is not None:
        if any(worker.step == "send" and not worker.delivery.startswith(CALLBACK) for worker in world.workers):
            raise Violation("a request is erased while a worker sends it")
        if any(not name.startswith(CALLBACK) for name, _ in world.late):
            raise Violation("a request is erased while a message of it may still arrive")
        if core.erase(record, now=NOW) is not record:
            raise Violation("an erasure that the SDK repeats changes the record again")
        yield "the operator erases what it said", world._replace(record=record, erase=world.erase - 1)
    if world.move:
        yield "the operator chooses another Slack channel", world._replace(place="B", move=world.move - 1)


def _takes(world: World, core: Memory) -> Iterator[Step]:
    if world.take:
        id_ = f"t{world.take}"
        for name in (None, *sorted({name for name, _ in world.posts if name in _shown(world.record)})):
            record = _taken(world, id_, name, core)
            seen = (*world.seen, name) if name and name not in world.seen else world.seen
            after = world._replace(record=record, seen=tuple(sorted(seen)), take=world.take - 1)
            yield f"{id_} takes it by {name or 'the command line'}", after
            if world.fault and record.takes != world.record.takes:
                lost = after._replace(repeats=_plus(world.repeats, ("take", id_)), fault=world.fault - 1)
                yield f"{id_} takes it by {name or 'the command line'}, and the answer is lost", lost
    if world.release and world.record.taken:
        id_ = world.record.taken.id
        after = world._replace(record=_released(world, id_, core), release=world.release - 1)
        if after.record.taken == world.record.taken:
            raise Violation(f"{id_} releases it, and still has it")
        yield f"{id_} releases it", after
        if world.fault:
            lost = after._replace(repeats=_plus(world.repeats, ("release", id_)), fault=world.fault - 1)
            yield f"{id_} releases it, and the answer is lost", lost
    for event, id_ in world.repeats:
        record = _released(world, id_, core) if event == "release" else _taken(world, id_, None, core)
        rest = world._replace(record=record, repeats=_without(world.repeats, (event, id_)))
        yield f"the SDK repeats the {event} of {id_}", rest


def _shown(record: Record) -> set[str]:
    return {delivery.name for delivery in record.deliveries if delivery.kind is not Kind.CALLBACK}


def _taken(world: World, id_: str, name: str | None, core: Memory) -> Record:
    how = {"by": id_, "via": "slack", "now": NOW, "delivery": name, "result": None}
    record: Record
    record, answer = core.take(world.record, id_, **how)
    if record.taken and answer != record.taken:
        raise Violation(f"{id_} is not told who has it")
    if core.take(record, id_, **how) != (record, answer):
        raise Violation("a take that the SDK repeats changes the record again")
    return record


def _released(world: World, id_: str, core: Memory) -> Record:
    how = {"by": id_, "via": "slack", "now": NOW}
    record: Record
    record = core.release(world.record, id_, **how)
    is_repeatable = core.release(record, id_, **how) is record
    if not is_repeatable:
        raise Violation("a release that the SDK repeats changes the record again")
    return record


def _feedback(world: World, core: Memory) -> Iterator[Step]:
    if world.bounce:
        for delivery in world.record.deliveries:
            for attempt in delivery.attempts:
                if delivery.destination == "email" and attempt.result and attempt.returned_at is None:
                    report = Report(delivery.name, attempt.result)
                    yield (
                        f"{delivery.name} comes back",
                        world._replace(reports=_plus(world.reports, report), bounce=world.bounce - 1),
                    )
    for report in world.reports:
        rest = world._replace(reports=_without(world.reports, report))
        if report.step == "record":
            record = core.returned(world.record, report.result, "bounce", now=NOW)
            found = record.sent_as(report.result)
            if found is None or found[1].returned_at is None:
                raise Violation("the record does not know a mail that it recorded, or not that it came back")
            unsure = rest._replace(record=record, sure=False, excused=_plus(world.excused, report.delivery))
            returned = record.delivery(report.delivery)
            if returned and returned.final is not Outcome.DELIVERED:
                # If another mail of the delivery has arrived, there is nothing to redrive.
                unsure = unsure._replace(reports=_plus(rest.reports, report._replace(step="letter")))
            yield "its return is recorded", unsure
        else:
            yield "its message is dead-lettered", rest._replace(dead_letters=_plus(world.dead_letters, report.delivery))
            if world.crash:
                again = rest._replace(
                    crash=world.crash - 1, reports=_plus(rest.reports, report._replace(step="record"))
                )
                yield "the feedback function dies", again


def _reconciler(world: World, core: Memory) -> Iterator[Step]:
    escalated = core.escalate(world.record, now=NOW)
    if escalated is not world.record:
        yield "a sweep escalates", world._replace(record=escalated)
    dead = tuple(each.name for each in core.once(_awaited)(world.record) if each.name in world.dead_letters)
    for name in dead:
        record = core.dead_lettered(world.record, name, "letter", "dead", now=NOW)
        if record is not world.record:
            yield f"a sweep finds {name} among the dead letters", world._replace(record=record)
    if world.stale and dead and not world.seen_dead_letters:
        yield "a slow sweep reads the dead letters", world._replace(seen_dead_letters=dead, stale=world.stale - 1)
    if world.seen_dead_letters:
        record = world.record
        for name in world.seen_dead_letters:
            record = core.dead_lettered(record, name, "letter", "dead", now=NOW)
        yield "the slow sweep records what it saw", world._replace(record=record, seen_dead_letters=())
    lost = tuple(each.name for each in core.once(_awaited)(world.record) if _is_lost(world, each))
    if lost:
        record = world.record
        for name in lost:
            record = core.publish(record, name, now=NOW)
        yield f"a sweep finds {', '.join(lost)} lost", world._replace(record=record)


def _awaited(record: Record) -> tuple[Delivery, ...]:
    return record.awaited


def _is_lost(world: World, delivery: Delivery) -> bool:
    """Whether the reconciler counts the delivery's message as lost: its due time is over, and its queue is empty."""
    waits = (entry.delivery for entry in (*world.record.outbox, *world.marking))
    if world.unpublished or delivery.locked_until or delivery.name in (*world.dead_letters, *waits):
        return False
    held = {*world.queue, *(worker.delivery for worker in world.workers)}
    return all(each.destination != delivery.destination for each in world.record.deliveries if each.name in held)


def _back(rest: World, worker: Worker, *, excused: bool = False) -> World:
    """The world after the worker was killed: its message comes again, and its lock stays until it expires.

    `rest`: the world without the worker. `excused`: the message may have been sent, so it may arrive once more.
    """
    back = rest._replace(queue=_plus(rest.queue, worker.delivery))
    if worker.step in {"record", "failed"} or excused:
        back = back._replace(sure=False)
    return back._replace(excused=_plus(back.excused, worker.delivery)) if excused else back


def _plus(many: tuple, *more: object) -> tuple:  # type: ignore[type-arg]
    return tuple(sorted((*many, *more)))


def _without(many: tuple, one: object) -> tuple:  # type: ignore[type-arg]
    index = many.index(one)
    return (*many[:index], *many[index + 1 :])
