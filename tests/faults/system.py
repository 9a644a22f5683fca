"""The deployed system on a simulated clock, with all work that AWS does between the functions.

The functions' handlers are the real ones. Slack is a local server that they reach over HTTP. AWS is in memory, or moto.
"""

import functools
import importlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final
from unittest.mock import patch

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.engine.dead_letters import request_id_in, unwrapped
from assistance.errors import TableUnavailable
from assistance.history import RESEND
from assistance.platform.clock import epoch_ms
from assistance.platform.environment import Environment
from assistance.routing import DESTINATIONS, Channel, Destination
from assistance.slack.blocks import parse_value
from assistance.store.requests import Requests
from assistance.store.schema import OUTBOX_SHARD
from local.slack_server import SlackServer
from local.slack_workspace import buttons
from slack_consumer.web_api import ids
from tests.faults.aws import Aws
from tests.faults.fault_injection import NO_SUCCESS, Crash, FaultInjector
from tests.integration.cloud import Cloud, Context, forget
from tests.integration.steps import example, sns_event
from tests.receiver import Receiver

START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUEUE_RETENTION: Final = 4 * 86_400
"""Seconds that a queue keeps a message, as in infra/config."""
ATTEMPTS: Final = 3
ENVIRONMENT: Final = {
    "RETRY_ATTEMPTS": str(ATTEMPTS),
    "RETRY_FIRST_DELAY": "5",
    "RETRY_MAX_DELAY": "900",
    "RETRY_DOUBT_DELAY": "30",
}

REQUEST: Final = ("", "")
"""Key of the request's own status in `Accepted.statuses`, beside the keys of its deliveries."""


@dataclass
class Accepted:
    """What the bot knows of an accepted request, and the request's status when the bot last read it."""

    id: str
    topic: str
    description: str
    statuses: dict[tuple[str, str], str] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    resends: set[str] = field(default_factory=set)
    bounces: int = 0
    sent_when_delivered: int | None = None
    called_back: bool = False

    @property
    def status(self) -> str:
        return self.statuses[REQUEST]


@dataclass
class System:
    """The system, and the actions of AWS, bots and operators that drive it."""

    cloud: Cloud
    aws: Aws
    slack: SlackServer
    bot: Receiver
    injector: FaultInjector
    traveller: Any
    log: io.StringIO
    accepted: dict[str, Accepted] = field(default_factory=dict)
    stream: list[dict[str, Any]] = field(default_factory=list)
    late: list[tuple[datetime, Callable[[], Any]]] = field(default_factory=list)
    mails_in_doubt: Counter[str] = field(default_factory=Counter)
    feedback: list[tuple[int, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """SES events whose retries have all failed, so that they are in the failures queue."""
    bad_events: Counter[str] = field(default_factory=Counter)
    """For each request, how many of SES's events reported that a mail did not arrive."""
    calls_back: bool = False
    """Whether the bot's next requests contain a callback URL."""
    stream_position: int = 0
    observed: tuple[int, ...] = ()
    invocations: Any = field(default_factory=count)
    deployed: Mapping[str, str] = field(default_factory=dict)
    """The deployed environment variables that differ from `ENVIRONMENT`."""

    # --- the clock -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def advance(self, seconds: float) -> None:
        """Let time pass. Slow calls take effect, and expired messages disappear from their queues."""
        until = self.now + timedelta(seconds=seconds)
        for due, call in sorted((entry for entry in self.late if entry[0] <= until), key=lambda entry: entry[0]):
            self.traveller.move_to(max(due, self.now))
            mails = self.mails()
            call()
            self.mails_in_doubt.update((self.mails() - mails).keys())
        self.late = [entry for entry in self.late if entry[0] > until]
        self.traveller.move_to(until)
        for name in DESTINATIONS:
            self.aws.purge(name, before=self.now.timestamp() - QUEUE_RETENTION)

    def later(self, call: Callable[[], Any], seconds: int) -> None:
        def land() -> None:
            # No caller waits for the response.
            with suppress(*NO_SUCCESS):
                call()

        self.late.append((self.now + timedelta(seconds=seconds), land))

    # --- what AWS holds ------------------------------------------------------------------------------------------

    def bodies(self, *names: str) -> list[str]:
        return [body for name in names for body in self.aws.bodies(name)]

    def dead_letters(self) -> list[str]:
        return self.bodies(*(f"{channel}{kind}" for channel in Channel for kind in ("-dlq", "-subscription-dlq")))

    def mails(self) -> Counter[str]:
        """Return the number of mails by request id."""
        return Counter(mail.request_id for mail in self.aws.mails())

    def posts(self) -> Counter[tuple[str, str | None]]:
        """Return the number of posts by the id of the request, and of the resend that posted it or None."""
        return Counter(held for message in self.slack.messages for held in _held(message))

    def reset(self) -> None:
        """Start with an empty system at the initial time."""
        self.aws.reset()
        self.slack.messages.clear()
        self.bot.clear()
        self.calls_back = False
        self.slack.fail("none")
        self.slack.workspace.limit(0)
        self.log.seek(0)
        self.log.truncate()
        self.accepted.clear()
        self.stream.clear()
        self.late.clear()
        self.mails_in_doubt.clear()
        self.feedback.clear()
        self.failures.clear()
        self.bad_events.clear()
        self.stream_position = 0
        self.observed = ()
        self.invocations = count()
        self.injector.outage = lambda _: None
        self.injector.plan(None)
        self.traveller.move_to(START)
        self.cold()

    def deploy(self, environment: Mapping[str, str]) -> None:
        """Deploy with these environment variables, unless they are deployed already."""
        if environment == self.deployed:
            return
        for name in self.deployed:
            del os.environ[name]
        os.environ.update(environment)
        self.deployed = environment
        forget()
        self.cold()

    @staticmethod
    def cold() -> None:
        """Make the next invocation start cold: without a cached token, signing key, Slack identity or Slack refusal."""
        importlib.import_module("assistance.platform.secret").secrets().store.clear()
        importlib.import_module("slack_consumer.handler").refused.clear()
        ids.cache_clear()

    # --- what AWS does -------------------------------------------------------------------------------------------

    def invoke(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Run `call` as one invocation, also while another one runs. Returns what it returns.

        Returns None if it was killed; the next one then starts cold.
        """
        self.cloud.context = Context()
        self.cloud.context.aws_request_id = f"invocation-{next(self.invocations)}"
        try:
            with self.injector.invocation():
                return call()
        except Crash:
            self.cold()
            return None

    def accept(self, topic: str, description: str, key: str) -> dict[str, Any] | None:
        """Make a bot's call. `key`: its idempotency key. Returns the API's response, or None if there was none."""
        callback = {"callback_url": self.bot.url} if self.calls_back else {}
        body = json.dumps({"topic": topic, "description": description, **callback})
        answer: dict[str, Any] | None = self.invoke(
            lambda: self.cloud.call(
                "POST", "/assistance-requests", body, Content_Type="application/json", Idempotency_Key=key
            )
        )
        if answer and answer["statusCode"] == 202:
            id_ = answer["json"]["id"]
            self.accepted.setdefault(id_, Accepted(id_, topic, description, called_back=self.calls_back))
        return answer

    def accept_for_sure(self, topic: str, description: str, key: str) -> str:
        """Repeat the same call until the response is 202, as a bot does. Returns the request's id."""
        for _ in range(3):
            answer = self.accept(topic, description, key)
            if answer and answer["statusCode"] == 202:
                return str(answer["json"]["id"])
            assert answer is None or answer["statusCode"] == 503, answer
        raise AssertionError("never accepted")

    def read_stream(self) -> None:
        """Add the new stream records that pass the event source's filter to the records to be delivered."""
        records = self.aws.stream(self.stream_position)
        self.stream_position += len(records)
        self.stream += [record for record in records if OUTBOX_SHARD in record["dynamodb"].get("NewImage", {})]

    def produce(self, records: list[dict[str, Any]] | None = None) -> None:
        """Invoke the producer. Records that it reports as failed come again, and all of them if it was killed."""
        if records is None:
            self.read_stream()
            records, self.stream = self.stream, []
        for start in range(0, len(records), 100):
            batch = records[start : start + 100]
            failed = self.invoke(functools.partial(self.cloud.produce, batch))
            again = {record["dynamodb"]["SequenceNumber"] for record in batch} if failed is None else set(failed)
            self.stream += [record for record in batch if record["dynamodb"]["SequenceNumber"] in again]

    def consume(self, channel: Destination, most: int = 10) -> bool:
        """Invoke the consumer with up to `most` messages that its queue hands out. Returns whether there were any."""
        if not self.bodies(channel):
            return False
        records = self.cloud.receive(channel, most)
        if not records:
            return False
        mails, strikes = self.mails(), self.injector.strikes
        mine = {"QUEUE_URL": self.cloud.queues[channel], "DLQ_URL": self.cloud.dlqs[channel]}
        with patch.dict(os.environ, mine):
            Environment.read.cache_clear()  # each consumer is a function of its own, with its own settings
            handler = self.cloud.handler(f"{channel}_consumer")
            answer = self.invoke(lambda: handler({"Records": records}, self.cloud.context))
        if answer is None or self.injector.strikes > strikes:
            # The case that the README excludes: SES accepted the mail, and the consumer could not record that.
            messages = {(request_id_in(record["body"]), delivery_in(record["body"])) for record in records}
            self.mails_in_doubt += (self.mails() - mails) & Counter(str(request_id) for request_id, _ in messages)
        if answer is None:
            return True
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for record in records:
            if record["messageId"] not in failed:
                self.cloud.sqs.delete_message(
                    QueueUrl=self.cloud.queues[channel], ReceiptHandle=record["receiptHandle"]
                )
        return True

    def reconcile(self, *, dry_run: bool = False) -> dict[str, Any] | None:
        """Invoke the reconciler as the scheduler does, without a retry.

        Returns its result, or None if it was killed.
        """
        handler = self.cloud.handler("reconciler")

        def call() -> Any:  # noqa: ANN401
            # If a function raises, its invocation fails, and the next invocation does the work.
            try:
                return handler({"dry_run": dry_run}, self.cloud.context)
            except TableUnavailable:
                return None

        answer: dict[str, Any] | None = self.invoke(call)
        return answer

    def publish_mail_event(self, name: str, number: int) -> None:
        """Let SES create the event `name` about mail `number` of the mailbox. `bring_feedback` delivers the event."""
        mail = self.aws.mails()[number]
        self.feedback.append((0, json.dumps(example(name, mail.request_id, mail.id))))
        self.bad_events[mail.request_id] += name != "delivery"

    def bring_feedback(self) -> None:
        """Invoke the email feedback function with SES's events. Lambda tries each event three times.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        events, self.feedback = self.feedback, []
        feedback = importlib.import_module("email_feedback.feedback")
        later = (feedback.NotYetRecorded, feedback.DlqUnavailable, TableUnavailable)
        for tries, event in events:

            def call(event: str = event) -> bool:
                try:
                    self.cloud.handler("email_feedback")(sns_event(event), self.cloud.context)
                except later:
                    return False
                return True

            if self.invoke(call):
                continue
            if tries < 2:
                self.feedback.append((tries + 1, event))
            else:
                self.failures.append(event)

    def requests_with_pending_events(self) -> list[str]:
        """The ids of the requests whose SES events have not been processed yet."""
        events = [*(event for _, event in self.feedback), *self.failures]
        return [json.loads(event)["mail"]["tags"]["request_id"][0] for event in events]

    def redrive(self) -> None:
        """Move every dead letter back into the queue of its channel, as an operator does."""
        for channel in DESTINATIONS:
            for name in (f"{channel}-dlq", f"{channel}-subscription-dlq"):
                for body in self.bodies(name):
                    self.cloud.sqs.send_message(QueueUrl=self.cloud.queues[channel], MessageBody=unwrapped(body))
                self.aws.purge(name)

    def resend(self, request_id: str, channel: Channel, decision: str) -> bool:
        """Resend the request as the command line does. `decision`: the resend's id. Returns whether it was allowed."""
        name = f"{RESEND}{decision}"

        def again(record: Record) -> tuple[Record, bool]:
            added = transitions.resend(record, name, channel, now=epoch_ms(self.now))
            return added or record, added is not None

        _, added = requests().change(request_id, again)
        if added:
            self.accepted[request_id].resends.add(decision)
        return added

    def lose_to_subscription_dlq(self, destination: Destination) -> None:
        """Move the queue's messages to the SNS subscription's dead-letter queue, as if SNS could not deliver them."""
        for body in self.bodies(destination):
            self.cloud.sqs.send_message(QueueUrl=self.cloud.subscription_dlqs[destination], MessageBody=body)
        self.aws.purge(destination)

    def heal(self) -> None:
        """End the outage of every provider."""
        self.slack.fail("none")
        self.injector.outage = lambda _: None

    def show(self, request_id: str) -> dict[str, Any]:
        answer = self.cloud.call("GET", f"/assistance-requests/{request_id}")
        assert answer["statusCode"] == 200, answer
        shown: dict[str, Any] = answer["json"]
        return shown


def _held(message: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """The requests in a Slack message, each with the id of the resend that posted it, if there was one."""
    if message["metadata"]:
        payload = message["metadata"]["event_payload"]
        yield from ((each["request_id"], each.get("force")) for each in payload.get("requests", [payload]))
        return
    # The message was updated and has no metadata. Its buttons still contain the request ids.
    for request_id, delivery in filter(None, (parse_value(str(button["value"])) for button in buttons(message))):
        yield request_id, delivery.removeprefix(RESEND) if delivery.startswith(RESEND) else None


def delivery_in(body: str) -> str:
    """The name of the delivery that a queue message is for."""
    try:
        return str(json.loads(body).get("delivery"))
    except ValueError:
        return ""


def requests() -> Requests:
    """The requests in the deployed table."""
    deployed: Requests = importlib.import_module("reconciler.handler").requests()
    return deployed
