"""The state of a request in the model and in the real system, in a form that can be compared."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Final, NamedTuple

from assistance.domain.record import Attempt, Delivery, End, Entry, Kind, Record
from assistance.domain.transitions import FALLBACK
from assistance.history import RESEND
from assistance.routing import DESTINATIONS, Channel
from assistance.store.schema import REQUEST
from tests.model.deployed import SLACK, Deployed
from tests.model.invocations import DEAD_LETTER, PUT, SEARCH, SENDS
from tests.model.result_cache import Memory
from tests.model.world import ATTEMPTS, LOCKED, SEARCHABLE, Worker, World, canonical

_PLACES: Final = {place: name for name, place in SLACK.items()}


class Seen(NamedTuple):
    """The parts of a state that a test compares after each step."""

    deliveries: tuple[Delivery, ...]
    outbox: tuple[Entry, ...]
    unpublished: tuple[str, ...]
    """Whether the request item has an outbox entry."""
    queues: tuple[str, ...]
    dead_letters: tuple[str, ...]
    working: tuple[tuple[str, str], ...]
    """For each worker its id and its next call."""
    publishing: tuple[str, ...]
    returning: int
    """The number of bounced mails whose dead letter is not written yet."""
    posts: tuple[str, ...]
    """The messages that people have received, with repetitions."""

    def differences(self, real: "Seen") -> list[str]:
        """Describe each part in which this state of the model differs from the state of the real system."""
        pairs = zip(self._fields, self, real, strict=True)
        return [
            f"{name}:\n  model: {_other(mine, its)}\n  real:  {_other(its, mine)}"
            for name, mine, its in pairs
            if mine != its
        ]


def _other(these: object, those: object) -> object:
    """The members of `these` that `those` lack, or all of them if the two differ only by their order or number."""
    if isinstance(these, tuple) and isinstance(those, tuple):
        return [each for each in these if each not in those] or these
    return these


def of_model(world: World) -> Seen:
    """The state of the model."""
    posts = (post_of(world.record, name, place) for name, place in world.posts)
    return Seen(
        deliveries=_deliveries(world.record, expired=world.expired),
        outbox=_outbox(world.record, world.marking),
        unpublished=(REQUEST,) * world.unpublished,
        queues=world.queue,
        dead_letters=world.dead_letters,
        working=tuple((worker.id, gate_of(worker)) for worker in sorted(world.workers, key=attrgetter("id"))),
        publishing=tuple(sorted(entry.delivery for entry in world.marking)),
        returning=sum(report.step == "letter" for report in world.reports),
        posts=tuple(sorted(posts)),
    )


def gate_of(worker: Worker) -> str:
    """The call that the worker makes next."""
    if worker.step == "send":
        return "send"
    gives_up = worker.step == "letter" or (worker.step == "failed" and worker.number >= ATTEMPTS)
    return DEAD_LETTER if gives_up else PUT


def post_of(record: Record, name: str, place: str) -> str:
    """A message as its provider knows it: SES can't distinguish a resend of a mail from the mail."""
    delivery = record.delivery(name)
    assert delivery
    if delivery.destination == SEARCHABLE:
        return f"{name} in {place}"
    return name if delivery.kind is Kind.CALLBACK else delivery.destination


def of_real(real: Deployed, model: World, memory: Memory) -> Seen:
    """The state of the real system. `model`: the world after the same steps, which tells which locks workers hold."""
    stored = real.stored
    names = {consuming.attempt: worker for worker, consuming in real.workers.items()}
    renamed = tuple(_renamed(each, real.now, names) for each in stored.record.deliveries)
    record = replace(stored.record, deliveries=renamed)
    gates = {worker: consuming.invocation.gate or "" for worker, consuming in sorted(real.workers.items())}
    return Seen(
        deliveries=_deliveries(canonical(World(record, workers=model.workers), memory).record, expired=model.expired),
        outbox=_outbox(record, real.published),
        unpublished=(REQUEST,) * stored.unpublished,
        queues=_names(real, DESTINATIONS),
        dead_letters=_names(
            real, (f"{destination}{kind}" for destination in DESTINATIONS for kind in ("-dlq", "-subscription-dlq"))
        ),
        working=tuple((worker, "send" if gate in {SEARCH, *SENDS} else gate) for worker, gate in gates.items()),
        publishing=tuple(sorted(entry.delivery for entry in real.published)),
        returning=len(real.returning),
        posts=tuple(sorted(_posts(real, stored.record).elements())),
    )


def _renamed(delivery: Delivery, now: int, names: Mapping[str, str]) -> Delivery:
    """The delivery as the model names it: `names` of attempts, names of Slack channels, `LOCKED` or 0 for its claim."""
    attempts = tuple(
        replace(each, id=names.get(each.id, each.id), place=_PLACES.get(each.place or "")) for each in delivery.attempts
    )
    return replace(delivery, attempts=attempts, locked_until=LOCKED if delivery.is_locked(now) else 0)


def _names(real: Deployed, queues: Iterable[str]) -> tuple[str, ...]:
    found = (real.waiting(queue) for queue in queues)
    return tuple(sorted(name for by_name in found for name, messages in by_name.items() for _ in messages))


def _posts(real: Deployed, record: Record) -> Counter[str]:
    """The number of arrived messages, by the delivery, on Slack also by its channel. All mails count together."""
    ends = {
        f"{real.id}_{each.cause.status}_{each.cause.at}": each.name
        for each in record.deliveries
        if isinstance(each.cause, End)
    }
    posts = Counter(ends.get(call.id, call.id) for call in real.system.bot.calls)
    posts[Channel.EMAIL] = len(real.system.aws.mails())
    own = SEARCHABLE if SEARCHABLE in record.channels else FALLBACK
    for message in real.system.slack.messages:
        decision = message["metadata"]["event_payload"].get("force")
        name = f"{RESEND}{decision}" if decision else own
        posts[f"{name} in {_PLACES[message['channel']]}"] += 1
    return posts


def _deliveries(record: Record, *, expired: bool) -> tuple[Delivery, ...]:
    """The record's deliveries without the parts that differ by name between the model and the real system.

    `expired`: also without locks. No real lock lasts longer than the request, but in the model each ends separately.
    """
    return tuple(
        replace(
            delivery,
            attempts=tuple(_attempt(delivery, attempt) for attempt in delivery.attempts),
            locked_until=0 if expired else delivery.locked_until,
        )
        for delivery in record.deliveries
    )


def _attempt(delivery: Delivery, attempt: Attempt) -> Attempt:
    place = attempt.place if delivery.destination == SEARCHABLE else None
    return replace(attempt, place=place, result=attempt.result and "its id")


def _outbox(record: Record, published: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The outbox. An entry's time is 1 if the producer has published an older entry for the delivery, else 0."""
    older = {entry.delivery for entry in published if entry not in record.outbox}
    entries = (Entry(entry.delivery, int(entry.delivery in older)) for entry in record.outbox)
    return tuple(sorted(entries, key=attrgetter("delivery")))
