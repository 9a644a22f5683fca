"""The deployed system on a clock that only moves when told to, with everything AWS does between the functions.

The handlers are the real ones, Slack is a server on this machine that they reach over HTTP, the rest of AWS is moto.
"""

import functools
import importlib
import io
import json
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final
from unittest.mock import patch

import time_machine
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.utilities import dynamo_json_dump
from moto.sesv2.models import sesv2_backends
from moto.sqs.models import sqs_backends

from assistance.clock import epoch_ms
from assistance.dead_letters import request_id_in, unwrapped
from assistance.delivery import Consumer
from assistance.errors import TableUnavailable
from assistance.models import Message, Status
from assistance.observability import logger
from assistance.requests import Requests
from assistance.routing import CALLBACK, LANES, Channel, Lane, routes
from assistance.schema import OUTBOX_SHARD
from local.slack_server import SlackServer
from reconciler.balance import balance_of
from slack_consumer.slack import ids
from tests.faults.breaker import NO_SUCCESS, Breaker, Crash, breaking
from tests.integration.cloud import Cloud, Context, cloud, forget
from tests.integration.steps import example, sns_event
from tests.receiver import Receiver

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
VISIBILITY: Final = 180
QUEUE_RETENTION: Final = 4 * 86_400
"""As in infra/config.py."""
ATTEMPTS: Final = 3
ENVIRONMENT: Final = {
    "RETRY_ATTEMPTS": str(ATTEMPTS),
    "RETRY_FIRST_DELAY": "5",
    "RETRY_MAX_DELAY": "900",
    "RETRY_DOUBT_DELAY": "30",
}
STEPS: Final[dict[str, dict[str, str]]] = {
    Status.ACCEPTED: {Status.PUBLISHED: "SNS has taken it"},
    Status.PUBLISHED: {Status.SENDING: "a consumer has claimed it"},
    Status.SENDING: {
        Status.DELIVERED: "the provider has taken it",
        Status.RETRYING: "the attempt failed",
        Status.FAILED: "the attempt failed for good",
    },
    Status.RETRYING: {Status.SENDING: "the next attempt is due"},
    Status.DELIVERED: {Status.FAILED: "the mail bounced"},
    Status.FAILED: {Status.DELIVERED: "by the fallback or a redrive"},
}
"""What a status becomes, and why. `make docs` draws it."""


def _from(status: str) -> set[str]:
    """All that may be read next: who polls seldom misses steps. A bounce is told apart by who looks."""
    reached, new = {status}, {status}
    while new:
        reached |= (new := {after for each in new - {Status.DELIVERED} for after in STEPS[each]} - reached)
    return reached


FORWARD: Final[dict[str, set[str]]] = {status: _from(status) for status in Status}
"""The statuses that may be read next. A mail that comes back turns `delivered` into `failed`, and nothing else does."""
NOT_ARRIVED: Final = {"bounce_permanent", "complaint", "reject"}


@dataclass
class Accepted:
    """What the bot knows of a request, and what was seen of it last."""

    id: str
    topic: str
    description: str
    statuses: dict[str, str] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)
    bounces: int = 0
    sent_when_delivered: int | None = None
    called_back: bool = False


@dataclass
class World:
    """The system and what drives it."""

    cloud: Cloud
    slack: SlackServer
    bot: Receiver
    breaker: Breaker
    traveller: Any
    log: io.StringIO
    accepted: dict[str, Accepted] = field(default_factory=dict)
    stream: list[dict[str, Any]] = field(default_factory=list)
    late: list[tuple[datetime, Callable[[], Any]]] = field(default_factory=list)
    mails_in_doubt: Counter[str] = field(default_factory=Counter)
    feedback: list[tuple[int, str]] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    """How often SES has said that a request's mail did not arrive."""
    calls_back: bool = False
    """Whether the bot asks to be called back, from now on."""
    seen: int = 0
    looked_at: tuple[int, ...] = ()
    invocations: Any = field(default_factory=count)

    # --- the clock -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def advance(self, seconds: float) -> None:
        """Let time pass: what was slow lands, what is too old leaves its queue."""
        until = self.now + timedelta(seconds=seconds)
        for due, call in sorted((entry for entry in self.late if entry[0] <= until), key=lambda entry: entry[0]):
            self.traveller.move_to(max(due, self.now))
            mails = self.mails()
            call()
            self.mails_in_doubt.update((self.mails() - mails).keys())
        self.late = [entry for entry in self.late if entry[0] > until]
        self.traveller.move_to(until)
        for name in LANES:
            queue = self.queue(name)
            oldest = (self.now.timestamp() - QUEUE_RETENTION) * 1000
            kept = [message for message in queue._messages if message.sent_timestamp > oldest]  # noqa: SLF001
            queue._messages = kept  # noqa: SLF001

    def _later(self, call: Callable[[], Any], seconds: int) -> None:
        def land() -> None:
            # Nobody waits for the answer.
            with suppress(*NO_SUCCESS):
                call()

        self.late.append((self.now + timedelta(seconds=seconds), land))

    # --- what AWS holds ------------------------------------------------------------------------------------------

    @staticmethod
    def queue(name: str) -> Any:  # noqa: ANN401
        return sqs_backends[ACCOUNT][REGION].queues[name]

    @staticmethod
    def _moto_table() -> Any:  # noqa: ANN401
        return dynamodb_backends[ACCOUNT][REGION].tables["table"]

    @staticmethod
    def _mailbox() -> Any:  # noqa: ANN401
        return sesv2_backends[ACCOUNT][REGION].core_backend.sent_messages

    def bodies(self, *names: str) -> list[str]:
        return [message.body for name in names for message in self.queue(name)._messages]  # noqa: SLF001

    def dead_letters(self) -> list[str]:
        return self.bodies(*(f"{channel}{kind}" for channel in Channel for kind in ("-dlq", "-subscription-dlq")))

    def mails(self) -> Counter[str]:
        """How often SES has taken each request."""
        return Counter(message.subject.rsplit(" ", 1)[-1] for message in self._mailbox())

    def posts(self) -> Counter[tuple[str, str | None]]:
        """How often Slack has each request, by the decision to force it."""
        told = [message["metadata"]["event_payload"] for message in self.slack.messages]
        payloads = [one for payload in told for one in payload.get("requests", [payload])]
        return Counter((payload["request_id"], payload.get("force")) for payload in payloads)

    def reset(self) -> None:
        """An empty system, at the beginning of time."""
        table = self._moto_table()
        table.items.clear()
        table.stream_shard.items.clear()
        for queue in sqs_backends[ACCOUNT][REGION].queues.values():
            queue._messages.clear()  # noqa: SLF001
            queue.pending_messages.clear()
            queue.deleted_messages.clear()
        self._mailbox().clear()
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
        self.said.clear()
        self.seen = 0
        self.looked_at = ()
        self.invocations = count()
        self.breaker.outage = lambda _: None
        self.breaker.plan(None)
        self.traveller.move_to(START)
        self.cold()

    @staticmethod
    def cold() -> None:
        """The next invocation finds no token and no key in memory, nor who it is on Slack."""
        importlib.import_module("assistance.secret").secrets().store.clear()
        ids.cache_clear()

    # --- what AWS does -------------------------------------------------------------------------------------------

    def invoke(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401
        """One invocation, or one that overlaps another. None if it was killed; then the next starts cold."""
        self.cloud.context = Context()
        self.cloud.context.aws_request_id = f"invocation-{next(self.invocations)}"
        try:
            with self.breaker.invocation():
                return call()
        except Crash:
            self.cold()
            return None

    def accept(self, topic: str, description: str, key: str) -> dict[str, Any] | None:
        """A bot's call; its answer, None if there was none."""
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
        """As a bot does it: the same call again until it is answered 202."""
        for _ in range(3):
            answer = self.accept(topic, description, key)
            if answer and answer["statusCode"] == 202:
                return str(answer["json"]["id"])
            assert answer is None or answer["statusCode"] == 503, answer
        raise AssertionError("never accepted")

    def read_stream(self) -> None:
        """Take what is new in the stream and passes the event source's filter."""
        items = self._moto_table().stream_shard.items
        new, self.seen = items[self.seen :], len(items)
        records = [json.loads(dynamo_json_dump(item.to_json())) for item in new]
        self.stream += [r for r in records if OUTBOX_SHARD in r["dynamodb"].get("NewImage", {})]

    def produce(self, records: list[dict[str, Any]] | None = None) -> None:
        """Deliver stream records; those that failed, or all if the producer was killed, come again."""
        if records is None:
            self.read_stream()
            records, self.stream = self.stream, []
        for start in range(0, len(records), 100):
            batch = records[start : start + 100]
            failed = self.invoke(functools.partial(self.cloud.produce, batch))
            again = {record["dynamodb"]["SequenceNumber"] for record in batch} if failed is None else set(failed)
            self.stream += [record for record in batch if record["dynamodb"]["SequenceNumber"] in again]

    def consume(self, channel: Lane, most: int = 10) -> bool:
        """Hand the consumer what its queue has to give. Whether there was anything."""
        if not self.bodies(channel):
            return False
        records = self.cloud.receive(channel, most)
        if not records:
            return False
        mails, strikes = self.mails(), self.breaker.strikes
        mine = {"QUEUE_URL": self.cloud.queues[channel], "DLQ_URL": self.cloud.dlqs[channel]}
        with patch.dict(os.environ, mine):
            handler = self.cloud.handler(f"{channel}_consumer")
            answer = self.invoke(lambda: handler({"Records": records}, self.cloud.context))
        if answer is None or self.breaker.strikes > strikes:
            # The one window that the README leaves open: SES took it, and we could not write it down.
            self.mails_in_doubt.update((self.mails() - mails).keys())
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
        """The scheduler's call, made again by nobody: its answer, None if it died."""
        handler = self.cloud.handler("reconciler")

        def call() -> Any:  # noqa: ANN401
            # A function that raises is an invocation that failed: the next one does what it could not.
            try:
                return handler({"dry_run": dry_run}, self.cloud.context)
            except TableUnavailable:
                return None

        answer: dict[str, Any] | None = self.invoke(call)
        return answer

    def say_of_mail(self, name: str, number: int) -> None:
        """SES has an event about that mail of the mailbox, which comes in its time."""
        mail = self._mailbox()[number]
        request_id = mail.subject.rsplit(" ", 1)[-1]
        self.feedback.append((0, json.dumps(example(name, request_id, mail.id))))
        self.said[request_id] += name != "delivery"

    def bring_feedback(self) -> None:
        """Hand SES's events to their function; Lambda tries each three times.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        events, self.feedback = self.feedback, []
        errors = importlib.import_module("email_feedback.errors")
        later = (errors.NotYetRecorded, errors.DlqUnavailable, TableUnavailable)
        for tries, event in events:

            def call(event: str = event) -> bool:
                try:
                    self.cloud.handler("email_feedback")(sns_event(event), self.cloud.context)
                except later:
                    return False
                return True

            if not self.invoke(call) and tries < 2:
                self.feedback.append((tries + 1, event))

    def redrive(self) -> None:
        """Move every dead letter back into its channel's queue, as an operator does."""
        for channel in LANES:
            for name in (f"{channel}-dlq", f"{channel}-subscription-dlq"):
                for body in self.bodies(name):
                    self.cloud.sqs.send_message(QueueUrl=self.cloud.queues[channel], MessageBody=unwrapped(body))
                self.queue(name)._messages.clear()  # noqa: SLF001

    def force(self, request_id: str, channel: Channel, act: str) -> None:
        """Send what has been delivered once more, as the command line does it."""
        record = _requests().get(request_id)
        assert record
        self.accepted[request_id].forced.add(act)
        fallback = record.fallback if record.fallback and record.fallback.channel is channel else None
        message = Message(request=record.request, fallback=fallback, force=act)
        self.cloud.sqs.send_message(
            QueueUrl=self.cloud.queues[channel], MessageBody=message.model_dump_json(ensure_ascii=True)
        )

    def lose_to_subscription_dlq(self, lane: Lane) -> None:
        """SNS could not deliver to the queue: its messages lie in the subscription's dead-letter queue."""
        for body in self.bodies(lane):
            self.cloud.sqs.send_message(QueueUrl=self.cloud.subscription_dlqs[lane], MessageBody=body)
        self.queue(lane)._messages.clear()  # noqa: SLF001

    def heal(self) -> None:
        """Every provider is well again."""
        self.slack.fail("none")
        self.breaker.outage = lambda _: None

    # --- what must be true ---------------------------------------------------------------------------------------

    def show(self, request_id: str) -> dict[str, Any]:
        answer = self.cloud.call("GET", f"/assistance-requests/{request_id}")
        assert answer["statusCode"] == 200, answer
        shown: dict[str, Any] = answer["json"]
        return shown

    def observe(self) -> None:
        """Read every request as its bot would, and check what holds at any time."""
        looked_at = (
            len(self._moto_table().stream_shard.items), len(self.dead_letters()), len(self.bodies(*Channel)),
            len(self._mailbox()), len(self.slack.messages), len(self.accepted), len(self.log.getvalue()),
        )  # fmt: skip
        if looked_at == self.looked_at:
            return
        self.looked_at = looked_at
        mails, posts = self.mails(), self.posts()
        held = Counter(request_id_in(body) for body in (*self.dead_letters(), *self.bodies(*Channel)))
        for request in self.accepted.values():
            shown = self.show(request.id)
            now = {"": shown["status"], **{each["channel"]: each["status"] for each in shown["deliveries"]}}
            bounces = _bounces(shown)
            assert bounces <= self.said[request.id], ("it never came back", shown)
            came_back, request.bounces = bounces > request.bounces, bounces
            if came_back:
                request.sent_when_delivered = None
            for what, before in request.statuses.items():
                if came_back and (before, now[what]) == ("delivered", "failed"):
                    continue
                if what in now:
                    assert now[what] in FORWARD[before], (request.id, what, before, now[what], shown)
                else:
                    assert before in {"sending", "retrying"}, (request.id, what, before, shown)
            request.statuses, request.shown = now, shown
            if shown["status"] == "failed":
                assert held[request.id], ("failed without a dead letter", shown)
            self._sent_once(request, mails, posts)
        for request in self.accepted.values():
            assert request.description not in self.log.getvalue(), "a description has been logged"

    @staticmethod
    def check_balance() -> None:
        """The law of conservation, as the last sweep has written it down."""
        balance = balance_of(_requests())
        accepted, ended = sum(balance.accepted.values()), sum(balance.ended.values())
        assert accepted == ended + len(balance.open), balance

    def _sent_once(self, request: Accepted, mails: Counter[str], posts: Counter[tuple[str, str | None]]) -> None:
        for (id_, force), times in posts.items():
            if id_ == request.id:
                assert times == 1, (request.id, force, times)
        allowed = 1 + self.mails_in_doubt[request.id] + len(request.forced) + request.bounces
        assert mails[request.id] <= allowed, (request.id, mails[request.id], allowed)
        if request.forced or any(call for call in self.late):
            return
        sent = mails[request.id] + posts[request.id, None]
        attempts = [attempt for each in request.shown["deliveries"] for attempt in each["timeline"]]
        if not request.bounces and not any(each.get("in_doubt") or each["outcome"] == "sending" for each in attempts):
            assert sent <= len(routes()[request.topic].channels), ("sent by its own channel and the fallback", request)
        if request.sent_when_delivered is not None:
            assert sent == request.sent_when_delivered, ("sent again although it was delivered", request.id)
        elif request.statuses[""] == "delivered":
            request.sent_when_delivered = sent
            assert sent, ("delivered without being sent", request.id)

    # --- to the end ----------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Everything that AWS does without being asked, once."""
        for _ in range(20):
            self.produce()
            self.bring_feedback()
            self.observe()
            busy = False
            for channel in LANES:
                busy = self.consume(channel) or busy
                self.observe()
            self.read_stream()
            if not (busy or self.stream or self.feedback):
                return

    @staticmethod
    def ended(request: Accepted) -> bool:
        """Whether the request has ended on every channel that it goes to."""
        shown = request.shown
        if shown["status"] == "delivered":
            return True
        done = {each["channel"] for each in shown["deliveries"] if each["status"] in {"delivered", "failed"}}
        wanted = set(routes()[request.topic].channels)
        if "fallback" in shown:
            wanted.add(shown["fallback"]["channel"])
        return wanted <= done

    def quiet(self) -> bool:
        """Whether nothing more will happen by itself."""
        self.observe()
        unpublished = [i for of in self._moto_table().items.values() for i in of.values() if OUTBOX_SHARD in i.attrs]
        return not (
            self.stream
            or self.feedback
            or self.late
            or unpublished
            or self.bodies(*LANES)
            or not all(self.ended(request) for request in self.accepted.values())
        )

    def settle(self) -> None:
        """Run until nothing more happens, then check that every request has ended."""
        for _ in range(60):
            self.turn()
            if self.quiet():
                break
            # More than a visibility time-out, a claim or the grace: the next sweep finds what has become of them.
            self.advance(VISIBILITY + 20)
            self.reconcile()
            self.observe()
        assert self.quiet(), [self.show(request_id) for request_id in self.accepted]
        dead = Counter(request_id_in(body) for body in self.dead_letters())
        for request in self.accepted.values():
            assert request.statuses[""] in {"delivered", "failed"}
            assert request.statuses[""] == "delivered" or dead[request.id], "failed, and no dead letter tells of it"
            self._called_back(request)

    def _called_back(self, request: Accepted) -> None:
        """The bot knows how it has ended, or a letter tells that it could not be told."""
        told = {call.id: json.loads(call.body) for call in self.bot.calls if call.id.startswith(request.id)}
        if not request.called_back:
            assert not told
            return
        ends = [each.get("failed_at") or each["delivered_at"] for each in request.shown["deliveries"]]
        end = f"{request.id}_{request.shown['status']}_{epoch_ms(datetime.fromisoformat(max(ends)))}"
        letters = {request_id_in(body) for body in self.bodies(f"{CALLBACK}-dlq", f"{CALLBACK}-subscription-dlq")}
        assert end in told or request.id in letters, (end, told, request.shown)
        for id_, body in told.items():
            assert id_.split("_")[1] == body["data"]["status"]


class InTurn(Executor):
    """Does what was submitted in the thread of whoever waits for it: one after another, always in the same order.

    Who waits for the others of its batch does their work meanwhile.
    """

    def __init__(self, _: int) -> None:
        self._work = deque[Callable[[], None]]()

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401
        future = _Awaited(self._work)

        def work() -> None:
            try:
                future.set_result(call(*arguments, **named))
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)

        self._work.append(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        while self._work:
            self._work.popleft()()


class _Awaited(Future[Any]):
    def __init__(self, work: deque[Callable[[], None]]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401, ARG002
        while self._work and not self.done():
            self._work.popleft()()
        # Nobody else would ever do it.
        return super().result(timeout=0)


def _requests() -> Requests:
    requests: Requests = importlib.import_module("reconciler.handler").requests()
    return requests


def _bounces(shown: dict[str, Any]) -> int:
    timelines = [each["timeline"] for each in shown["deliveries"] if each["channel"] == Channel.EMAIL]
    return sum(attempt.get("error") in NOT_ARRIVED for timeline in timelines for attempt in timeline)


def _longest(_: float, longest: float) -> float:
    return longest


@contextmanager
def world() -> Iterator[World]:
    """One world. Consumers and publisher work on one record at a time, so that a call's number means something."""
    breaker, log = Breaker(), io.StringIO()
    with ExitStack() as stack:
        slack = stack.enter_context(SlackServer(token="xoxb-local", channels=("C0ASSIST",)))
        bot = stack.enter_context(Receiver())
        traveller = stack.enter_context(time_machine.travel(START, tick=False))
        running = stack.enter_context(cloud(slack.url))
        stack.enter_context(patch.dict(os.environ, {**running.environment, **ENVIRONMENT}))
        one_by_one = functools.partial(Consumer, pool=InTurn, jitter=_longest)
        stack.enter_context(patch("assistance.consumer.Consumer", one_by_one))
        stack.enter_context(patch("assistance.publisher._PARALLEL", 1))
        stack.enter_context(patch("reconciler.ledger._PARALLEL", 1))
        stack.enter_context(patch("assistance.dead_letters._PARALLEL", 1))
        # Two shards show what all of them do, in a fraction of the calls.
        stack.enter_context(patch("assistance.schema.INDEX_SHARDS", 2))
        stack.enter_context(patch("assistance.requests.INDEX_SHARDS", 2))
        stack.enter_context(_logging_into(log))
        stack.enter_context(breaking(breaker))
        forget()
        for channel in LANES:
            arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{channel}-dlq"
            redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT})
            running.sqs.set_queue_attributes(
                QueueUrl=running.queues[channel],
                Attributes={"VisibilityTimeout": str(VISIBILITY), "RedrivePolicy": redrive},
            )
        here = World(running, slack, bot, breaker, traveller, log)
        breaker.later = here._later  # noqa: SLF001
        yield here


MAX_RECEIVE_COUNT: Final = 12
"""Small, so that SQS's own redrive happens too."""


@contextmanager
def _logging_into(log: io.StringIO) -> Iterator[None]:
    """What the functions would write to their log: Powertools' logger, and warnings of libraries."""
    root = logging.StreamHandler(log)
    root.setLevel(logging.WARNING)
    logging.getLogger().addHandler(root)
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(log)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(root)
        if before is not None:
            handler.setStream(before)
