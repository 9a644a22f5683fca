"""Maps each step of the model to an action of the real system."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final

from assistance.domain.record import Delivery, Record
from assistance.history import RESEND
from assistance.routing import DESTINATIONS, Channel, Destination
from tests.faults.fault_injection import Kind
from tests.model.deployed import Deployed
from tests.model.invocations import Then, dies, fails, loses_the_answer, passes
from tests.model.world import World

SWEEP: Final = "the reconciler sweeps"
PUBLISHING_SWEEP: Final = "the reconciler publishes what the stream has not, and sweeps"
TOO_EARLY: Final = "{} comes too early"
_UNRECORDED: Final = fails(Kind.TIMEOUT_BEFORE)
_IN_DOUBT: Final = fails(Kind.TIMEOUT_AFTER)


@dataclass(frozen=True, slots=True)
class Taken:
    """A step to take: the worlds before and after it, and `name`, the delivery that it names. `draw`: for durations."""

    real: Deployed
    before: World
    after: World
    name: str
    draw: Random

    @property
    def destination(self) -> Destination:
        """Return the delivery's destination."""
        named = delivery_of(self.before.record, self.name).destination
        return next(destination for destination in DESTINATIONS if destination == named)

    @property
    def worker(self) -> str:
        """The worker that takes the step."""
        before, after = set(self.before.workers), set(self.after.workers)
        [worker] = before - after or after - before
        return worker.id

    @property
    def mail(self) -> tuple[str, int]:
        """The mail that bounced: its delivery, and the number of the attempt that sent it."""
        [report] = Counter(self.before.reports) - Counter(self.after.reports)
        results = [each.result for each in delivery_of(self.before.record, report.delivery).attempts]
        return report.delivery, results.index(report.result)

    def receive(self, worker: str) -> None:
        # The more time an invocation has left, the later its lock expires.
        self.real.receive(self.destination, self.name, worker, remaining_ms=self.draw.randrange(1_000, 900_000))

    def send(self, *thens: Then) -> None:
        """Let the worker search for earlier posts if it has to, and then make a call for each of `thens`."""
        worker = self.worker
        self.real.search_history(worker)
        for then in thens:
            self.real.go_on(worker, then)

    def resend(self) -> None:
        [new] = set(self.after.record.deliveries) - set(self.before.record.deliveries)
        assert self.real.system.resend(self.real.id, Channel(new.destination), new.name.removeprefix(RESEND))

    def let_the_lock_end(self) -> None:
        # The deliveries of an expired request have ended with the request.
        self.real.pass_by(self.real.locks.get(self.name, self.real.now) - self.real.now + 1)


def delivery_of(record: Record, name: str) -> Delivery:
    found = record.delivery(name)
    assert found, name
    return found


def _move(taken: Taken) -> None:
    taken.real.place = taken.after.place


ACTS: Final[Mapping[str, Callable[[Taken], None]]] = MappingProxyType(
    {
        "the producer publishes the request": lambda it: it.real.publish_the_request(),
        "the producer publishes the request and dies": lambda it: it.real.publish_the_request(dies_before=True),
        "SNS loses the request": lambda it: it.real.publish_the_request(lost=True),
        "the producer publishes MANY": lambda it: it.real.publish(),
        "SNS loses MANY": lambda it: it.real.publish(lost=True),
        "the producer marks them published": lambda it: it.real.mark(),
        "the producer dies before it marks them": lambda it: it.real.mark(dies_before=True),
        "SQS delivers ONE twice": lambda it: it.real.repeat(it.destination, it.name),
        "SQS moves ONE to the dead-letter queue": lambda it: it.real.lose(it.destination, it.name),
        "ONE comes too early": lambda it: it.receive("nobody"),
        r"WORKER acknowledges ONE: \w+": lambda it: it.receive("nobody"),
        "the expired ONE is acknowledged": lambda it: it.receive("nobody"),
        "WORKER claims ONE": lambda it: it.receive(it.worker),
        "WORKER dies": lambda it: it.real.go_on(it.worker, dies),
        "WORKER looks ONE up and finds it posted": lambda it: it.send(),
        "WORKER sends ONE": lambda it: it.send(passes),
        "WORKER may not have sent ONE": lambda it: it.send(_IN_DOUBT),
        "WORKER sends ONE, and the answer is lost": lambda it: it.send(loses_the_answer),
        "WORKER sends ONE, and the provider is slow": lambda it: it.send(it.real.is_slow(it.name)),
        "WORKER puts ONE off": lambda it: it.send(it.real.rate_limit(it.destination), passes),
        "the provider refuses ONE for good": lambda it: it.send(it.real.refusal(it.destination, for_good=True)),
        "the provider refuses ONE for now": lambda it: it.send(it.real.refusal(it.destination, for_good=False)),
        "WORKER will retry ONE": lambda it: it.real.go_on(it.worker),
        "WORKER dead-letters ONE": lambda it: it.real.go_on(it.worker),
        "WORKER records ONE as (?:delivered|failed)": lambda it: it.real.go_on(it.worker),
        "WORKER can't record (?:ONE|the failure|the end)": lambda it: it.real.go_on(it.worker, _UNRECORDED),
        "WORKER records ONE, and the answer to the write is lost": lambda it: it.real.go_on(
            it.worker, loses_the_answer
        ),
        "ONE arrives late": lambda it: it.real.arrive(it.name),
        "the lock on ONE ends(?:| before its worker has recorded it)": lambda it: it.let_the_lock_end(),
        "the request expires": lambda it: it.real.expire(),
        "the operator redrives ONE": lambda it: it.real.redrive(it.destination, it.name),
        "the operator resends": lambda it: it.resend(),
        "the operator chooses another Slack channel": _move,
        "ONE comes back": lambda _: None,
        "its return is recorded": lambda it: it.real.come_back(*it.mail),
        "its message is dead-lettered": lambda it: it.real.dead_letter_the_return(*it.mail),
        "the feedback function dies": lambda it: it.real.dead_letter_the_return(*it.mail, dies),
        SWEEP: lambda it: it.real.sweep(publishes=False),
        PUBLISHING_SWEEP: lambda it: it.real.sweep(publishes=True),
    }
)
_PATTERNS: Final = {
    kind: re.compile(kind.replace("WORKER", "[ab]").replace("MANY", "ONE(, ONE)*").replace("ONE", "([a-z0-9-]+)"))
    for kind in ACTS
}


def kind_of(step: str) -> tuple[str, str]:
    """The step's kind, a key of `ACTS`, and the first delivery that the step names; "" if it names none."""
    acts = [(kind, found) for kind, pattern in _PATTERNS.items() if (found := pattern.fullmatch(step))]
    assert len(acts) == 1, f"the step has {len(acts)} acts: {step}"
    [(kind, found)] = acts
    return kind, found[1] if found.groups() else ""


def take(step: str, real: Deployed, before: World, after: World, draw: Random) -> None:
    """Take the step in the real system. `before`, `after`: the model's worlds around it."""
    kind, name = kind_of(step)
    ACTS[kind](Taken(real, before, after, name, draw))
