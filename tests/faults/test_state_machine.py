"""Tests random orders of all events, and checks the invariants after each step.

Hypothesis draws everything, so the steps that it prints for a failure are a complete script: paste them into a test
that takes the fixture `one_world`, beneath `StateMachine.world = one_world`. Or run the test again with the
`@reproduce_failure` line that it prints. `make soak` also stores a failure in `.hypothesis`.

`make soak` runs tens of thousands of steps, different ones each time.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from assistance.routing import DESTINATIONS, ROUTES, Channel, Destination, Route, Topic, named, routes
from tests.faults.fault_injection import Fault, Kind
from tests.faults.system import ATTEMPTS
from tests.faults.world import World
from tests.integration.cloud import forget

EXAMPLES, STEPS = int(os.environ.get("SOAK_EXAMPLES", "600")), int(os.environ.get("SOAK_STEPS", "50"))
_QUICK = {"max_examples": 60, "stateful_step_count": 30, "derandomize": True, "database": None}
_SOAK = {"max_examples": EXAMPLES, "stateful_step_count": STEPS}
PROFILE = settings(
    **(_SOAK if os.environ.get("SOAK") else _QUICK),
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)

# A late call takes effect within 30 seconds after the timeout or the kill, while the delivery is still locked.
late = st.integers(0, 29)
faults = st.none() | st.builds(
    Fault,
    st.integers(0, 8),
    st.sampled_from([kind for kind in Kind if kind is not Kind.REJECTED]),
    late,
)
BOTH = "both"
"""A topic with two channels. The other topics have one channel and a fallback."""
topics = st.sampled_from([*Topic, BOTH])
destinations = st.sampled_from(DESTINATIONS)
SLACK_FAULTS: list[dict[str, object]] = [
    {"kind": "error", "error": "is_archived"},
    {"kind": "error", "error": "internal_error"},
    {"kind": "rate_limited", "retry_after": 7},
    {"kind": "status", "status": 503},
    {"kind": "drop"},
]
OUTAGES = (Kind.REFUSED, Kind.TIMEOUT_BEFORE, Kind.TIMEOUT_AFTER, Kind.REJECTED)
picks = st.integers(0, 50)


@dataclass(frozen=True)
class Meanwhile:
    """An overlap: another process acts (`does`) before the invocation's call number `call`. Then `seconds` pass."""

    call: int
    does: str
    destination: Destination
    seconds: int


overlaps = st.none() | st.builds(
    Meanwhile,
    st.integers(0, 8),
    st.sampled_from(["consume", "consume a duplicate", "produce", "reconcile", "feedback", "redrive"]),
    destinations,
    # An invocation that waits for longer is killed.
    st.integers(0, 25),
)


class StateMachine(RuleBasedStateMachine):
    """The actions of bots, operators, providers and AWS, and the faults."""

    world: ClassVar[World]
    steps: ClassVar[int] = 0

    @initialize(calls_back=st.booleans())
    def begin(self, calls_back: bool) -> None:  # noqa: FBT001
        self.world.reset()
        self.world.calls_back = calls_back
        self.keys = 0

    def _pick(self, pick: int) -> str:
        ids = list(self.world.accepted)
        return ids[pick % len(ids)]

    def _broken(self, fault: Fault | None, step: Callable[[], object], meanwhile: Meanwhile | None = None) -> None:
        overlap = (meanwhile.call, lambda: self._happens(meanwhile)) if meanwhile else None
        self.world.injector.plan(fault, overlap)
        step()
        self.world.injector.plan(None)

    def _happens(self, meanwhile: Meanwhile) -> None:
        world, destination = self.world, meanwhile.destination
        match meanwhile.does:
            case "consume a duplicate":
                for body in world.bodies(destination)[:1]:
                    self._send(destination, body)
                world.consume(destination)
            case "consume":
                world.consume(destination)
            case "produce":
                world.produce()
            case "reconcile":
                world.reconcile()
            case "feedback":
                world.bring_feedback()
            case "redrive":
                world.redrive()
                world.consume(destination)
        world.advance(meanwhile.seconds)

    # --- the bot

    @rule(topic=topics, fault=faults)
    def accept(self, topic: str, fault: Fault | None) -> None:
        self.keys += 1
        description = f"words of customer {self.keys} that belong in no log"
        self._broken(fault, lambda: self.world.accept(topic, description, str(self.keys)))
        # As a bot does: repeat the same call until there is a response.
        self.world.accept_for_sure(topic, description, str(self.keys))

    @precondition(lambda self: self.world.accepted)
    @rule(key=picks)
    def replay(self, key: int) -> None:
        # A first call whose write the SDK repeats has the same time, and is not a replay.
        self.world.advance(0.001)
        number = key % self.keys + 1
        [topic] = {r.topic for r in self.world.accepted.values() if f"customer {number} " in r.description}
        answer = self.world.accept(topic, f"words of customer {number} that belong in no log", str(number))
        assert answer is not None
        assert answer["statusCode"] == 202
        assert answer["headers" if "headers" in answer else "multiValueHeaders"].get("Idempotent-Replayed")

    @precondition(lambda self: self.world.accepted)
    @rule(key=picks)
    def reuse_a_key(self, key: int) -> None:
        answer = self.world.accept(Topic.SALES, "another payload", str(key % self.keys + 1))
        assert answer is not None
        assert answer["statusCode"] == 422

    @precondition(lambda self: self.world.accepted)
    @rule(pick=picks, kind=st.sampled_from([Kind.REFUSED, Kind.TIMEOUT_BEFORE, Kind.CRASH_BEFORE]))
    def read_status_while_the_table_fails(self, pick: int, kind: Kind) -> None:
        """Read a status while a call to the table fails: the response must be 503, or missing."""
        path = f"/assistance-requests/{self._pick(pick)}"
        self.world.injector.plan(Fault(0, kind))
        answer = self.world.invoke(lambda: self.world.cloud.call("GET", path))
        self.world.injector.plan(None)
        assert answer is None or answer["statusCode"] == 503

    # --- AWS

    @rule(fault=faults, meanwhile=overlaps)
    def deliver_stream(self, fault: Fault | None, meanwhile: Meanwhile | None) -> None:
        self._broken(fault, self.world.produce, meanwhile)

    @rule(fault=faults, data=st.data())
    def deliver_stream_out_of_order_and_twice(self, fault: Fault | None, data: st.DataObject) -> None:
        self.world.read_stream()
        records = data.draw(st.permutations(self.world.stream))
        twice = records[: data.draw(st.integers(0, len(records)))]
        self.world.stream.clear()
        self._broken(fault, lambda: self.world.produce([*records, *twice]))

    @rule()
    def give_up_the_stream(self) -> None:
        self.world.read_stream()
        self.world.stream.clear()

    @rule(destination=destinations, fault=faults, meanwhile=overlaps)
    def consume(self, destination: Destination, fault: Fault | None, meanwhile: Meanwhile | None) -> None:
        self._broken(fault, lambda: self.world.consume(destination), meanwhile)

    @rule(
        fault=st.none()
        | st.builds(Fault, st.integers(0, 30), st.sampled_from([k for k in Kind if "LATE" not in k.name])),
        meanwhile=overlaps,
    )
    def reconcile(self, fault: Fault | None, meanwhile: Meanwhile | None) -> None:
        self._broken(fault, self.world.reconcile, meanwhile)

    @rule(fault=faults, meanwhile=overlaps)
    def bring_feedback(self, fault: Fault | None, meanwhile: Meanwhile | None) -> None:
        self._broken(fault, self.world.bring_feedback, meanwhile)

    @rule(seconds=st.sampled_from([0, 31, 200]))
    def run_on(self, seconds: int) -> None:
        """Let all functions run for a while without faults, so that histories become long."""
        self.world.turn()
        self.world.advance(seconds)
        self.world.reconcile()

    @rule()
    def reconcile_dry(self) -> None:
        before = self.world.aws.streamed()
        self.world.reconcile(dry_run=True)
        assert self.world.aws.streamed() == before

    @rule(seconds=st.sampled_from([1, 6, 16, 31, 61, 200, 1_000, 90_000]))
    def let_time_pass(self, seconds: int) -> None:
        self.world.advance(seconds)

    @rule(destination=destinations)
    def fail_to_deliver_to_a_queue(self, destination: Destination) -> None:
        self.world.lose_to_subscription_dlq(destination)

    @precondition(lambda self: self.world.bodies(*DESTINATIONS))
    @rule(destination=destinations, pick=picks)
    def duplicate_a_message(self, destination: Destination, pick: int) -> None:
        if bodies := self.world.bodies(destination):
            self._send(destination, bodies[pick % len(bodies)])

    # --- the providers

    @rule(
        kind=st.sampled_from(SLACK_FAULTS),
        times=st.integers(1, 4),
    )
    def slack_fails(self, kind: dict[str, object], times: int) -> None:
        self.world.slack.fail(**kind, times=times)  # type: ignore[arg-type]

    @rule(call=st.sampled_from(["sesv2.SendEmail", "callback.post"]), kind=st.sampled_from(OUTAGES))
    def a_server_fails(self, call: str, kind: Kind) -> None:
        """A call to SES or to the bot's callback server fails."""
        self.world.injector.outage = lambda name: kind if name == call else None

    @rule(
        slack=st.sampled_from(SLACK_FAULTS),
        ses=st.sampled_from([Kind.REFUSED, Kind.TIMEOUT_AFTER, Kind.REJECTED]),
        topic=topics,
        # Until the request is retried, has failed on its channel, or has failed on both channels.
        turns=st.sampled_from([1, ATTEMPTS, 2 * ATTEMPTS + 1]),
        redrive=st.booleans(),
    )
    def everything_is_down(
        self,
        slack: dict[str, object],
        ses: Kind,
        topic: str,
        turns: int,
        redrive: bool,  # noqa: FBT001
    ) -> None:
        """Providers are down for so long that a request fails on one or both channels.

        An operator may then redrive it.
        """
        self.accept(topic, None)
        self.slack_fails(slack, 100)
        self.a_server_fails("sesv2.SendEmail", ses)
        for _ in range(turns):
            self.world.turn()
            self.world.advance(61)
        self.world.heal()
        if redrive:
            self.world.redrive()
            self.world.turn()

    @precondition(lambda self: self.world.mails())
    @rule(name=st.sampled_from(["bounce", "complaint", "reject", "delivery"]), pick=picks)
    def ses_says(self, name: str, pick: int) -> None:
        """Send an SES event about any accepted mail, so also late and more than once."""
        self.world.publish_mail_event(name, pick % self.world.mails().total())

    @rule()
    def providers_heal(self) -> None:
        self.world.heal()

    # --- the operator

    @precondition(lambda self: self.world.dead_letters())
    @rule()
    def redrive(self) -> None:
        self.world.redrive()

    @precondition(lambda self: self.world.accepted)
    @rule(pick=picks, channel=st.sampled_from(named(ROUTES.values())))
    def resend(self, pick: int, channel: Channel) -> None:
        """Resend on any deployed channel, even one outside the request's route. Refused until the original is final."""
        request_id = self._pick(pick)
        self.world.resend(request_id, channel, f"decision {len(self.world.accepted[request_id].resends)}")

    def _send(self, destination: Destination, body: str) -> None:
        self.world.cloud.sqs.send_message(QueueUrl=self.world.cloud.queues[destination], MessageBody=body)

    # --- what must be true

    @invariant()
    def holds(self) -> None:
        type(self).steps += 1
        self.world.observe()
        self.world.check_accounted()

    def teardown(self) -> None:
        """Check that every request reaches a final status after the providers work again."""
        if hasattr(self, "keys"):
            self.world.heal()
            self.world.settle()
            self.world.advance(60)
            self.world.reconcile()
            self.world.check_accounted()


def test_no_order_of_events_violates_an_invariant_of_deliveries(one_world: World, count: Callable[[str], None]) -> None:
    StateMachine.world, StateMachine.steps = one_world, 0
    run_state_machine_as_test(StateMachine, settings=PROFILE)
    count(f"state machine: {StateMachine.steps} steps")


@pytest.fixture(autouse=True)
def _fresh(system: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start with an empty system and an additional topic."""
    deployed = {**ROUTES, BOTH: Route((Channel.SLACK, Channel.EMAIL), None)}
    monkeypatch.setenv("ROUTES", json.dumps({topic: asdict(route) for topic, route in deployed.items()}))
    forget()
    system.cold()
    yield
    monkeypatch.delenv("ROUTES")
    routes.cache_clear()
