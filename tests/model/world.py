"""The world around a record: queues that repeat, workers that die, a provider that loses answers, people who act.

The model checker calls the very functions that change a record. Times shrink to what these compare: a lock is on or
off, and an entry of the outbox is older or younger than another. A lock ends only when its worker is gone and nothing
that the worker has sent can still arrive, as `docs/reliability.md` derives from the time-outs.
"""

from dataclasses import replace
from typing import Final, NamedTuple

from assistance.domain.record import Attempt, Delivery, End, Entry, Kind, Outcome, Record, Status
from tests.model.memory import Memory

LOCKED: Final = 99
ATTEMPTS: Final = 2
"""The budget of a delivery."""
CAN_BE_ASKED: Final = "slack"
"""The channel whose provider can be asked what it has."""
RANK: Final = {Status.ACCEPTED: 0, Status.SENDING: 1, Status.RETRYING: 1, Status.FAILED: 2, Status.DELIVERED: 3}


class Worker(NamedTuple):
    """A consumer that has received a message and holds the claim. `step` is what it does next."""

    delivery: str
    id: str
    step: str
    number: int = 1
    look_in: tuple[str, ...] = ()
    in_doubt: bool = False


class Report(NamedTuple):
    """SES's event that a mail came back. `step` is what the feedback function does next."""

    delivery: str
    result: str
    step: str = "record"


class World(NamedTuple):
    """One state. The last members are budgets: how often each kind of trouble may still happen."""

    record: Record
    unpublished: bool = True
    """Whether the request itself is in the outbox."""
    queue: tuple[str, ...] = ()
    letters: tuple[str, ...] = ()
    """The messages in the dead-letter queues."""
    workers: tuple[Worker, ...] = ()
    marking: tuple[Entry, ...] = ()
    """What a producer has published and not marked yet."""
    seen_letters: tuple[str, ...] = ()
    """What a slow sweep has seen in the dead-letter queues, and not written down yet."""
    reports: tuple[Report, ...] = ()
    posts: tuple[tuple[str, str], ...] = ()
    """What people have received: the delivery, and the place."""
    late: tuple[tuple[str, str], ...] = ()
    """What a provider has taken and not posted yet."""
    excused: tuple[str, ...] = ()
    """The deliveries that may arrive once more for each time that they stand here: their provider can't be asked."""
    sure: bool = True
    """Whether nothing has been in doubt, and nothing has come back."""
    place: str = "A"
    """Where the channel posts at present."""
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

    @property
    def is_quiet(self) -> bool:
        """Whether nothing more happens by itself."""
        return not (
            self.unpublished
            or self.queue
            or self.workers
            or self.marking
            or self.record.outbox
            or self.reports
            or self.late
            or self.seen_letters
        )


def unfinished(record: Record) -> tuple[str, ...]:
    """The deliveries that a message must exist for. A fallback is none once a human has the request."""
    return tuple(
        delivery.name
        for delivery in record.deliveries
        if delivery.final is None
        and (delivery.kind in {Kind.RESEND, Kind.CALLBACK} or any(delivery is each for each in record.pending))
    )


def has_ended(record: Record) -> bool:
    """Whether all that was to be sent has a final status."""
    return record.has_ended and not unfinished(record)


def canonical(world: World, memory: Memory) -> World:
    """The world without what no transition looks at: times, codes, the ids of those that are gone."""
    live = tuple((worker.delivery, worker.id) for worker in world.workers)
    record, marking = memory.once(_canonical)(world.record, live, world.marking, memory)
    return world._replace(record=record, marking=marking)


def _canonical(
    record: Record, live: tuple[tuple[str, str], ...], marking: tuple[Entry, ...], memory: Memory
) -> tuple[Record, tuple[Entry, ...]]:
    outbox = record.outbox
    if outbox or marking:
        first = min(entry.since for entry in (*outbox, *marking))
        outbox = tuple(sorted((Entry(entry.delivery, entry.since - first) for entry in outbox), key=_by_name))
        marking = tuple(Entry(entry.delivery, entry.since - first) for entry in marking)
    deliveries = tuple(_plain(delivery, live) for delivery in record.deliveries)
    return memory.one(replace(record, deliveries=deliveries, outbox=outbox)), marking


def _by_name(entry: Entry) -> str:
    return entry.delivery


def key_of(world: World) -> tuple[object, ...]:
    """What tells a canonical world from another. Equal records are one object, so its address will do."""
    return id(world.record), *world[1:]


def _plain(delivery: Delivery, live: tuple[tuple[str, str], ...]) -> Delivery:
    attempts = tuple(
        Attempt(
            id=attempt.id if attempt.outcome is Outcome.UNKNOWN and (delivery.name, attempt.id) in live else "",
            at=0,
            outcome=attempt.outcome,
            place=attempt.place if attempt.may_have_arrived else None,
            in_doubt=attempt.in_doubt,
            result=attempt.result if delivery.destination == "email" else None,
            returned=attempt.returned,
        )
        for attempt in delivery.attempts
    )
    return Delivery(
        name=delivery.name,
        destination=delivery.destination,
        kind=delivery.kind,
        cause=End(delivery.cause.status, 0) if isinstance(delivery.cause, End) else None,
        attempts=attempts,
        locked_until=delivery.locked_until,
        waiting_for="x" if delivery.waiting_for else None,
        alone=delivery.alone,
    )
