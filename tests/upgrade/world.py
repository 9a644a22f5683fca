"""A system during an upgrade: each function is of version 1 or of the current version."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest.mock import patch

import time_machine

from assistance.routing import CALLBACK, DESTINATIONS, Channel, Destination
from assistance.store.schema import OUTBOX_SHARD
from local.slack_server import SlackServer
from tests.faults.aws import Moto
from tests.faults.fault_injection import Crash, FaultInjector, Kind, injected_faults
from tests.integration.cloud import HANDLERS, Cloud, cloud, forget
from tests.integration.steps import emails, example, sns_event
from tests.receiver import Receiver
from tests.upgrade.versions import VERSIONS, Version

CONSUMERS: Final = frozenset(f"{destination}_consumer" for destination in DESTINATIONS)
STAGES: Final = (
    frozenset[str](),
    CONSUMERS,
    CONSUMERS | {"stream_producer", "reconciler", "email_feedback"},
    frozenset(HANDLERS),
)
"""The functions that have the current version after each step of the upgrade, in the order given in infra/stack.py."""
USED: Final = (Channel.SLACK, Channel.EMAIL, CALLBACK)
ROUTES: Final = {
    "sales": {"channels": ["slack"], "fallback": "email"},
    "pricing": {"channels": ["email"], "fallback": "slack"},
    "alone": {"channels": ["slack"], "fallback": None},
    "mailed": {"channels": ["email"], "fallback": None},
    "both": {"channels": ["slack", "email"], "fallback": None},
}
SHARDED: Final = (
    (Version.OLD, "assistance.schema"),
    (Version.OLD, "assistance.requests"),
    (Version.NEW, "assistance.store.schema"),
    (Version.NEW, "assistance.store.table"),
)
"""The modules with constants for the numbers of the indexes' shards, each with its version."""
START: Final = datetime(2026, 11, 25, 9, tzinfo=UTC)
OVERDUE: Final = timedelta(minutes=16)
A_MINUTE: Final = timedelta(minutes=1)


@dataclass
class World(Cloud):
    """The system. `updated`: its functions of the current version. `records`: stream records not delivered yet."""

    aws: Moto = field(kw_only=True)
    slack: SlackServer = field(kw_only=True)
    bot: Receiver = field(kw_only=True)
    injector: FaultInjector = field(kw_only=True)
    clock: time_machine.Traveller = field(kw_only=True)
    updated: frozenset[str] = frozenset()
    records: list[dict[str, Any]] = field(default_factory=list)

    def handler(self, function: str) -> Callable[[Any, Any], Any]:
        return lambda event, context: VERSIONS.call(self.version(function), function, event, context)

    def version(self, function: str) -> Version:
        return Version.NEW if function in self.updated else Version.OLD

    def stream_records(self) -> list[dict[str, Any]]:
        records = self.aws.stream(self.seen)
        self.seen += len(records)
        return [each for each in records if OUTBOX_SHARD in each["dynamodb"].get("NewImage", {})]

    def later(self, time: timedelta) -> None:
        self.clock.shift(time)

    def sweep(self) -> dict[str, Any]:
        """Invoke the reconciler."""
        answer: dict[str, Any] = self.handler("reconciler")({}, self.context)
        return answer

    def accept(self, topic: str, description: str, *, calls_back: bool = False) -> str:
        return self.post(topic, description, self.bot.url if calls_back else None)

    def bring_stream(self, request_id: str | None = None, *, lost: bool = False) -> None:
        """Pass the stream's records to the producer: those of one request, or all. `lost`: drop them instead.

        Records that the producer reports as failed come again.
        """
        self.records += self.stream_records()
        mine = [each for each in self.records if request_id in {None, each["dynamodb"]["Keys"]["pk"]["S"]}]
        failed = [] if lost or not mine else self.produce(mine)
        self.records = [
            each for each in self.records if each not in mine or each["dynamodb"]["SequenceNumber"] in failed
        ]

    def attempt(self, destination: Destination, request_id: str) -> list[str]:
        """Consume the messages of one request, and no others. Returns the ids of the messages reported as failed."""
        mine = self.taken(destination, request_id)
        return self.consume(destination, mine) if mine else []

    def taken(self, destination: Destination, request_id: str) -> list[dict[str, Any]]:
        """Receive the messages of one request. Messages of other requests become visible again."""
        records = self.receive(destination, 100)
        mine = [each for each in records if request_id in each["body"]]
        for each in records:
            if each not in mine:
                self.sqs.change_message_visibility(
                    QueueUrl=self.queues[destination], ReceiptHandle=each["receiptHandle"], VisibilityTimeout=0
                )
        return mine

    def killed(self, destination: Destination, request_id: str, call: str, kind: Kind) -> None:
        """Consume the messages of one request, and kill the consumer at its call with that name."""
        self.injector.outage = lambda name: kind if name == call else None
        try:
            with self.injector.invocation():
                self.attempt(destination, request_id)
        except Crash:
            self.later(A_MINUTE)
            return
        finally:
            self.injector.outage = lambda _: None
        raise AssertionError("nothing was called by that name")

    def bounce(self, request_id: str) -> None:
        """SES reports that the last mail about the request bounced."""
        item = self.table.get_item(Key={"pk": request_id, "sk": "DELIVERY#email"})["Item"]
        message = json.dumps(example("bounce", request_id, json.loads(item["result"])))
        self.handler("email_feedback")(sns_event(message), self.context)

    def lose(self, destination: Destination, request_id: str) -> None:
        """Delete the messages of the request from the queue of that destination."""
        for each in self.taken(destination, request_id):
            self.sqs.delete_message(QueueUrl=self.queues[destination], ReceiptHandle=each["receiptHandle"])

    def enqueue(self, destination: Destination, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.queues[destination], MessageBody=body)

    def travel(self, rounds: int) -> None:
        """Let the producer and the consumers run once a minute, for `rounds` minutes."""
        for _ in range(rounds):
            self.bring_stream()
            for destination in USED:
                self.consume(destination, self.receive(destination, 100))
            self.later(A_MINUTE)

    def settle(self) -> None:
        """Run all functions until each delivery that can end has ended, and the reconciler has found lost messages."""
        self.travel(2)
        self.sweep()
        self.later(OVERDUE)
        self.sweep()
        self.travel(2)

    def redrive(self, channel: Destination) -> None:
        while self.dead_letters(channel):
            super().redrive(channel)

    def arrivals(self, description: str) -> tuple[int, int]:
        """Return the number of posts in Slack, and of mails, that contain the description."""
        posts = sum(description in json.dumps(message) for message in self.slack.messages)
        return posts, sum(description in mail for mail in emails())


@contextmanager
def world() -> Iterator[World]:
    injector, aws = FaultInjector(), Moto()
    with ExitStack() as stack:
        slack = stack.enter_context(SlackServer(token="xoxb-local", channels=("C0ASSIST",)))
        bot = stack.enter_context(Receiver())
        clock = stack.enter_context(time_machine.travel(START, tick=False))
        running = stack.enter_context(cloud(slack.url))
        environment = {**running.environment, "ROUTES": json.dumps(ROUTES)}
        stack.enter_context(patch.dict(os.environ, environment))
        for version, name in SHARDED:
            # One shard behaves like all of them, with a fraction of the calls.
            module = VERSIONS.module(version, name)
            for constant in [each for each in vars(module) if each.endswith("_SHARDS")]:
                stack.enter_context(patch.object(module, constant, 1))
        stack.enter_context(injected_faults(injector, aws))
        VERSIONS.cold(HANDLERS)
        forget()
        yield World(**vars(running), aws=aws, slack=slack, bot=bot, injector=injector, clock=clock)
    forget()
