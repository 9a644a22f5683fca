"""The world around a record: queues that repeat messages, workers that die, providers that lose responses, people.

The model checker calls the real functions that change a record. It reduces times to the comparisons that these make: a
lock is held or not, an outbox entry is older or younger than another one, and an attempt is older or younger than the
time when its delivery was last started. A lock ends only when its worker is gone and no message of that worker can
still arrive, as `docs/reliability.md` derives from the timeouts.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from assistance.domain.record import Attempt, Delivery, End, Entry, Handled, Outcome, Record, StandsInFor, Status
from tests.model.result_cache import Memory

NOW: Final = 2
"""The current time. Everything before happened at the time 0 or 1."""
LOCKED: Final = 99
ATTEMPTS: Final = 2
"""The maximum number of attempts of a delivery."""
SEARCHABLE: Final = "slack"
"""The channel whose consumer can search for a message that may have arrived."""
_IDS: Final = ("a", "b")
"""The ids of the workers."""
RANK: Final = {Status.ACCEPTED: 0, Status.SENDING: 1, Status.RETRYING: 1, Status.FAILED: 2, Status.DELIVERED: 3}


class Worker(NamedTuple):
    """A consumer that has received a message and claimed the delivery. `step`: its next action.

    `number`: of its attempt. `search_in`: the Slack channels where it first searches for earlier posts.
    """

    delivery: str
    id: str
    step: str
    number: int = 1
    search_in: tuple[str, ...] = ()
    in_doubt: bool = False


class Report(NamedTuple):
    """SES's event that a mail bounced. `step`: the next action of the email feedback function."""

    delivery: str
    result: str
    step: str = "record"


class World(NamedTuple):
    """One state. The last fields are budgets: how often each kind of fault may still happen."""

    record: Record
    unpublished: bool = True
    """Whether the request item has an outbox entry."""
    queue: tuple[str, ...] = ()
    dead_letters: tuple[str, ...] = ()
    """The messages in the dead-letter queues."""
    workers: tuple[Worker, ...] = ()
    marking: tuple[Entry, ...] = ()
    """The entries that a producer has published and not marked as published yet."""
    seen_dead_letters: tuple[str, ...] = ()
    """The dead letters that a slow reconciler run has read and not recorded yet."""
    reports: tuple[Report, ...] = ()
    posts: tuple[tuple[str, str], ...] = ()
    """The messages that people have received: for each the delivery, and the Slack channel to which it was posted."""
    late: tuple[tuple[str, str], ...] = ()
    """The messages that a slow provider has accepted and not delivered yet: delivery and Slack channel."""
    excused: tuple[str, ...] = ()
    """The names of deliveries that may arrive once more, because nobody can tell whether their message has arrived."""
    sure: bool = True
    """Whether no attempt had an unknown outcome and no mail bounced."""
    expired: bool = False
    """Whether the request has expired: each function treats it as absent, even if DynamoDB has not deleted it."""
    seen: tuple[str, ...] = ()
    """The deliveries whose messages people have used to take the request."""
    repeats: tuple[tuple[str, str], ...] = ()
    """The takes and releases whose responses were lost, so that the SDK may repeat them: event and id."""
    place: str = "A"
    """The Slack channel to which the functions post at present."""
    crash: int = 0
    fault: int = 0
    duplicate: int = 0
    redrive: int = 0
    resend: int = 0
    bounce: int = 0
    lose: int = 0
    stale: int = 0
    move: int = 0
    slow: int = 0
    expire: int = 0
    take: int = 0
    release: int = 0
    erase: int = 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing more can happen without a person or a fault."""
        return not (
            self.unpublished
            or self.queue
            or self.workers
            or self.marking
            or self.record.outbox
            or self.late
            or (not self.expired and (self.reports or self.seen_dead_letters))
        )


def _replaced(world: World, **changes: object) -> World:
    values = list(world)
    for name, value in changes.items():
        values[_INDEX[name]] = value
    return tuple.__new__(World, values)


_INDEX: Final = {name: index for index, name in enumerate(World._fields)}
if not TYPE_CHECKING:
    # Python's own `_replace` looks up each of the 30 fields in `changes`. A check calls it four times for each step.
    World._replace = _replaced


def unfinished(record: Record) -> tuple[str, ...]:
    """Names of unfinished deliveries: those to people, the latest callback about statuses, the latest about takes."""
    last = [callback for callback in record.callbacks if callback is record.series_of(callback)[-1]]
    return tuple(delivery.name for delivery in (*record.unfinished, *last) if delivery.final is None)


def has_ended(record: Record) -> bool:
    """Whether the request has its final status, and `unfinished` finds no delivery that must still be made."""
    return record.has_ended and not unfinished(record)


def canonical(world: World, memory: Memory) -> World:
    """The world without what no transition reads: times, error codes, and ids of attempts without a worker."""
    live = tuple((worker.delivery, worker.id) for worker in world.workers)
    record, marking = memory.once(_canonical)(world.record, live, world.marking, memory)
    return world if record is world.record and not marking else world._replace(record=record, marking=marking)


def _canonical(
    record: Record, live: tuple[tuple[str, str], ...], marking: tuple[Entry, ...], memory: Memory
) -> tuple[Record, tuple[Entry, ...]]:
    entries = (Entry(entry.delivery, int(bool(marking) and entry not in marking)) for entry in record.outbox)
    outbox = tuple(sorted(entries, key=_by_name))
    deliveries = tuple(_plain(delivery, live) for delivery in record.deliveries)
    takes = tuple(replace(take, at=0, released_at=None if take.released_at is None else 0) for take in record.takes)
    erased_at = None if record.erased_at is None else 0
    canonical_ = replace(record, deliveries=deliveries, takes=takes, outbox=outbox, erased_at=erased_at)
    return memory.one(canonical_), tuple(Entry(entry.delivery, 0) for entry in marking)


def with_workers_in_order(world: World, memory: Memory) -> World:
    """The world with the ids of its workers ordered by what each worker does next.

    Two worlds that differ only by which worker has which id behave alike, so they become the same world.
    """
    if not world.workers:
        return world
    ordered = sorted(world.workers, key=_without_id)
    ids = {worker.id: new for worker, new in zip(ordered, _IDS, strict=False) if worker.id != new}
    if not ids:
        return world
    workers = tuple(sorted(worker._replace(id=ids.get(worker.id, worker.id)) for worker in ordered))
    record = memory.once(_with_ids)(world.record, tuple(ids.items()), memory)
    return world._replace(record=record, workers=workers)


def _without_id(worker: Worker) -> tuple[object, ...]:
    return (*worker[:1], *worker[2:], worker.id)


def _with_ids(record: Record, ids: tuple[tuple[str, str], ...], memory: Memory) -> Record:
    new = dict(ids)
    deliveries = (
        replace(delivery, attempts=tuple(replace(each, id=new.get(each.id, each.id)) for each in delivery.attempts))
        for delivery in record.deliveries
    )
    return memory.one(replace(record, deliveries=tuple(deliveries)))


def _by_name(entry: Entry) -> str:
    return entry.delivery


def key_of(world: World) -> tuple[object, ...]:
    """A key that identifies a canonical world. Equal records are the same object, so the record's address suffices."""
    return id(world.record), *world[1:]


def digest_of(world: World) -> int:
    """A 64-bit key for worlds that would not fit into memory. Two worlds may share one, though that is very unlikely.

    If the bits are as good as random, two of ten million worlds have the same key in one of 370,000 checks.
    """
    return hash(key_of(world))


def _timeless(cause: object) -> StandsInFor | End | Handled | None:
    match cause:
        case StandsInFor(channel):
            return StandsInFor(channel, "")
        # As if the clock had stood still since: the next callback must have a later time all the same.
        case End(status):
            return End(status, NOW)
        case Handled(how):
            return Handled(how, "", "", Status.DELIVERED, NOW)
    return None


def _plain(delivery: Delivery, live: tuple[tuple[str, str], ...]) -> Delivery:
    earlier = [attempt.at < delivery.wanted_since for attempt in delivery.attempts]
    attempts = tuple(
        Attempt(
            # The ids must stay unique, since a transition finds an attempt by its id.
            id=attempt.id
            if attempt.outcome is Outcome.UNKNOWN and (delivery.name, attempt.id) in live
            else f"{number}",
            at=0 if earlier[number] else 1,
            outcome=attempt.outcome,
            place=attempt.place if attempt.may_have_arrived else None,
            in_doubt=attempt.in_doubt,
            ended_at=0 if attempt.outcome is Outcome.UNKNOWN and attempt.ended_at is not None else None,
            result=attempt.result if delivery.destination == "email" else None,
            returned_at=None if attempt.returned_at is None else 0,
        )
        for number, attempt in enumerate(delivery.attempts)
    )
    return Delivery(
        name=delivery.name,
        destination=delivery.destination,
        kind=delivery.kind,
        cause=_timeless(delivery.cause),
        attempts=attempts,
        locked_until=delivery.locked_until,
        waiting_for="x" if delivery.waiting_for else None,
        alone=delivery.alone,
        wanted_since=int(any(earlier)),
    )
