"""One request on the real handlers, with each action of AWS, providers and people as a method."""

import importlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final
from unittest.mock import patch

from assistance.domain.record import Entry
from assistance.errors import RateLimited
from assistance.routing import DESTINATIONS, Channel, Destination
from assistance.store.schema import RECORD, REQUEST, SORT_KEY
from slack_consumer.settings import Settings as SlackSettings
from tests.faults.aws import VISIBILITY, Memory
from tests.faults.fault_injection import Call, Kind
from tests.faults.world import World as System
from tests.faults.world import world
from tests.fixtures import documented
from tests.integration.cloud import Context, forget
from tests.integration.steps import example, sns_event
from tests.memory_queues import Held
from tests.model.invocations import (
    DEAD_LETTER,
    MARK,
    PUBLISH,
    PUT,
    SEARCH,
    Errors,
    Gates,
    Invocation,
    Then,
    dies,
    fails,
    passes,
)
from tests.model.stage import OVERDUE_MS, Stage
from tests.model.world import ATTEMPTS

SLACK: Final = {"A": "C0ASSIST", "B": "C0OTHER"}
"""The ids of the Slack channels where the consumer posts, by their names in the model."""
ENVIRONMENT: Final = {
    "RETRY_ATTEMPTS": str(ATTEMPTS),
    "RETRY_FIRST_DELAY": "0",
    "RETRY_MAX_DELAY": "0",
    "RETRY_DOUBT_DELAY": "300",
    "OVERDUE_SECONDS": str(OVERDUE_MS // 1_000),
}


@dataclass(frozen=True, slots=True)
class Consuming:
    """A running invocation of a consumer: its message, the id of its attempt, and `place`, where it posts: A or B."""

    invocation: Invocation
    destination: Destination
    message: Held
    place: str
    attempt: str


class Deployed(Stage):
    """One request, and the invocations that are running for it."""

    def __init__(self, system: System, aws: Memory, gates: Gates, topic: str, *, calls_back: bool) -> None:
        super().__init__(system, aws, topic, calls_back=calls_back)
        self.workers = dict[str, Consuming]()
        self.published: tuple[Entry, ...] = ()
        """The entries that the running producer has published."""
        self.returning = list[tuple[str, Invocation]]()
        """Each bounced mail whose dead letter is not written yet: SES's id, and the invocation that will write it."""
        self.place = "A"
        """The Slack channel to which the currently deployed functions post."""
        self._gates = gates
        self._late = list[tuple[str, Call]]()
        self._producer: Invocation | None = None

    def end(self) -> None:
        """Kill every running invocation."""
        consuming = (each.invocation for each in self.workers.values())
        returning = (invocation for _, invocation in self.returning)
        for each in (*consuming, *returning, *filter(None, [self._producer])):
            if each.gate:
                each.go_on(dies)

    # --- publishing ----------------------------------------------------------------------------------------------

    def publish_the_request(self, *, lost: bool = False, dies_before: bool = False) -> None:
        """The producer publishes the request. `lost`: SNS loses it. `dies_before`: it dies before it marks it."""
        producer = self._publishing(REQUEST, lost=lost)
        self._marking(producer, dies_before=dies_before)

    def publish(self, *, lost: bool = False) -> None:
        """The producer publishes the outbox entries in the record's newest stream record. `lost`: SNS loses them."""
        self.published = self.record.outbox
        self._producer = self._publishing(RECORD, lost=lost)

    def mark(self, *, dies_before: bool = False) -> None:
        """The producer takes published entries out of the record's outbox. `dies_before`: it dies before that."""
        assert self._producer
        self._marking(self._producer, dies_before=dies_before)
        self._producer, self.published = None, ()

    def _publishing(self, sort_key: str, *, lost: bool) -> Invocation:
        newest = [each for each in self._aws.stream(0) if each["dynamodb"]["NewImage"][SORT_KEY]["S"] == sort_key][-1:]
        before = {destination: list(self._queue(destination)) for destination in DESTINATIONS}
        producer = Invocation(self._gates, partial(self.system.cloud.produce, newest))
        assert producer.gate == PUBLISH, f"it publishes nothing: {producer.gate}"
        producer.go_on()
        if lost:
            for destination, messages in before.items():
                self._queue(destination)[:] = messages
        return producer

    def _marking(self, producer: Invocation, *, dies_before: bool) -> None:
        assert producer.gate in {PUT, MARK}, f"it marks nothing: {producer.gate}"
        producer.go_on(dies if dies_before else passes)
        self._check_ended(producer)

    # --- consuming -----------------------------------------------------------------------------------------------

    def receive(self, destination: Destination, name: str, worker: str, remaining_ms: int) -> None:
        """The consumer `worker` receives the message of delivery `name`, and tries to lock the delivery."""
        # Each invocation is a new instance. An hour may pass during a call, and its receiver would then count as slow.
        importlib.import_module("callback_consumer.handler").receivers.cache_clear()
        message, cloud = self.waiting(destination)[name][0], self.system.cloud
        self._in_flight.add(message.id)
        received = message.received(self.now, VISIBILITY)
        [record] = documented("sqs")["Records"]
        record |= {name[0].lower() + name[1:]: received[name] for name in ("MessageId", "ReceiptHandle", "Body")}
        named = {"stringValue": received["MessageAttributes"].get("channels", {}).get("StringValue")}
        record |= {"md5OfBody": received["MD5OfBody"], "attributes": received["Attributes"]}
        record |= {"messageAttributes": {"channels": named}}
        call = partial(cloud.handler(f"{destination}_consumer"), {"Records": [record]}, Context(remaining_ms))
        with patch.dict(os.environ, {"QUEUE_URL": cloud.queues[destination], "DLQ_URL": cloud.dlqs[destination]}):
            self._settle_in(self.place)
            invocation = Invocation(self._gates, call)
        if invocation.gate == PUT:
            invocation.go_on()
        claimed = self.record.delivery(name) if invocation.gate else None
        attempt = claimed.attempts[-1].id if claimed else ""
        self.workers[worker] = Consuming(invocation, destination, message, self.place, attempt)
        self._conclude(worker)

    def go_on(self, worker: str, then: Then = passes) -> None:
        """Let the worker make its next call. `then` decides what happens to the call."""
        self._settle_in(self.workers[worker].place)
        self.workers[worker].invocation.go_on(then)
        self._conclude(worker)

    def search_history(self, worker: str) -> None:
        """Let the worker search Slack's history for earlier posts, if that is its next call."""
        self._settle_in(self.workers[worker].place)
        while self.workers[worker].invocation.gate == SEARCH:
            self.workers[worker].invocation.go_on()

    def _conclude(self, worker: str) -> None:
        """If the worker's invocation has ended, let SQS delete its message, unless it was killed or reported that."""
        consuming = self.workers[worker]
        invocation, message = consuming.invocation, consuming.message
        if invocation.gate:
            return
        del self.workers[worker]
        self._in_flight.remove(message.id)
        self._check_ended(invocation)
        again = [{"itemIdentifier": message.id}]
        if not invocation.was_killed and invocation.answer["batchItemFailures"] != again:
            self._queue(consuming.destination).remove(message)

    def _check_ended(self, invocation: Invocation) -> None:
        assert invocation.gate is None, f"it goes on to {invocation.gate}"
        if invocation.was_killed:
            self.system.cold()
        elif invocation.error:
            raise invocation.error

    # --- providers and people ------------------------------------------------------------------------------------

    def refusal(self, destination: Destination, *, for_good: bool) -> Then:
        """Return the `then` of a send that the provider refuses, for good or for now, so that nothing is sent."""
        if destination == Channel.SLACK and for_good:
            self.system.slack.fail("error", error="is_archived", method="chat.postMessage", times=1)
            return passes
        if for_good:
            return fails(Kind.REJECTED)
        return fails(Kind.TIMEOUT_BEFORE if destination == Channel.EMAIL else Kind.REFUSED)

    def rate_limit(self, destination: Destination) -> Then:
        """Return the `then` of a send to which the provider responds with a rate limit."""
        if destination == Channel.SLACK:
            self.system.slack.fail("rate_limited", method="chat.postMessage", times=1)
            return passes
        return fails(Kind.REFUSED) if destination == Channel.EMAIL else _limits_the_rate

    def is_slow(self, name: str) -> Then:
        """Return the `then` of a send that times out, and whose message arrives later: at `arrive`."""

        def then(call: Call, errors: Errors) -> None:
            self._late.append((name, call))
            raise errors(Kind.TIMEOUT_AFTER)

        return then

    def arrive(self, name: str) -> None:
        """Let the slow message of the delivery `name` arrive."""
        late = next(each for each in self._late if each[0] == name)
        self._late.remove(late)
        late[1]()

    @staticmethod
    def _settle_in(place: str) -> None:
        """Set the consumer's Slack channel to `place` (A or B): the one with which the next invocation was deployed."""
        os.environ["SLACK_CHANNEL"] = SLACK[place]
        SlackSettings.read.cache_clear()

    def come_back(self, delivery: str, number: int) -> None:
        """The email feedback function records a bounce: of the mail that attempt `number` of the delivery sent."""
        mail = self._mail(delivery, number)
        event = sns_event(json.dumps(example("bounce", self.id, mail)))
        invocation = Invocation(self._gates, partial(self.system.cloud.handler("email_feedback"), event, Context()))
        if invocation.gate == PUT:
            invocation.go_on()
        if invocation.gate:
            assert invocation.gate == DEAD_LETTER, f"it goes on to {invocation.gate}"
            self.returning.append((mail, invocation))
        else:
            self._check_ended(invocation)

    def dead_letter_the_return(self, delivery: str, number: int, then: Then = passes) -> None:
        """The email feedback function writes the dead letter of attempt `number`'s bounced mail, as `then` decides."""
        mail = self._mail(delivery, number)
        found = next(each for each in self.returning if each[0] == mail)
        self.returning.remove(found)
        found[1].go_on(then)
        self._check_ended(found[1])

    def _mail(self, delivery: str, number: int) -> str:
        found = self.record.delivery(delivery)
        assert found
        return str(found.attempts[number].result)


def _limits_the_rate(call: Call, errors: Errors) -> None:
    raise RateLimited("http_429")


@contextmanager
def deployment(routes: dict[str, tuple[tuple[str, ...], str | None]]) -> Iterator[tuple[System, Memory, Gates]]:
    """The system, its AWS, and the gates of its calls. `routes`: the channels and the fallback of each topic."""
    gates = Gates()
    given = {topic: {"channels": channels, "fallback": fallback} for topic, (channels, fallback) in routes.items()}
    with ExitStack() as stack:
        # Otherwise later tests would use these topics and settings too.
        stack.callback(forget)
        system = stack.enter_context(world(injector=gates))
        assert isinstance(system.aws, Memory)
        system.slack.workspace.channels = frozenset(SLACK.values())
        # The model's time stands still, so no rate limit ever exceeds its maximum time.
        stack.enter_context(patch("assistance.engine.decisions.PATIENCE", timedelta.max))
        # In the model, only a resend whose message is in no queue is published again, however late it is.
        stack.enter_context(patch("reconciler.open_requests.HELD_UP", timedelta(days=365)))
        # The model has no times, so it can't tell a dead letter from before a delivery was needed again.
        stack.enter_context(patch("reconciler.dead_letters._is_newer", lambda *_: False))
        # While a consumer searches Slack's history, other steps may take minutes: a call to Slack takes seconds.
        stack.enter_context(patch("slack_consumer.history_search.SEARCH_TIME", timedelta(days=365)))
        stack.enter_context(patch.dict(os.environ, {**ENVIRONMENT, "ROUTES": json.dumps(given)}))
        forget()
        yield system, system.aws, gates
