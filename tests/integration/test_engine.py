"""The delivery engine against a table: what each outcome leaves behind is what the next attempt decides by."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any, cast
from unittest.mock import patch
from uuid import uuid4

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyAlreadyInProgressError
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ConnectTimeoutError

from assistance.clock import epoch_ms, timestamp
from assistance.deliveries import delivery_key, request_key
from assistance.delivery import MAX_DELAY_SECONDS, Consumer
from assistance.errors import (
    DeliveryError,
    PermanentFailure,
    RateLimited,
    TableUnavailable,
    TransientFailure,
)
from assistance.metrics import Tally
from assistance.models import AssistanceRequest, Delivery, Fallback, Message, Outgoing, RequestRecord, Status
from assistance.requests import Requests
from assistance.routing import Channel, RetryPolicy, Topic
from assistance.schema import shard
from tests.integration.cloud import Cloud, Context, cloud

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
# Every send takes a second.
END = START + timedelta(seconds=1)
CREATED = "2026-01-01T11:59:00.000Z"
RETENTION = timedelta(days=90)
DOUBT = timedelta(seconds=30)
LIVE = epoch_ms(START + timedelta(seconds=30) + DOUBT)
FROM_EMAIL = Fallback(channel=Channel.SLACK, failed_channel=Channel.EMAIL, error="rejected")


@dataclass
class Queue:
    """What the consumer asks SQS to do."""

    hidden: list[Any] = field(default_factory=list)
    dead: list[Any] = field(default_factory=list)
    broken: bool = False

    def change_message_visibility(self, **call: Any) -> None:  # noqa: ANN401
        self.hidden.append(call)
        if self.broken:
            raise ConnectTimeoutError(endpoint_url="sqs")

    def send_message(self, **call: Any) -> None:  # noqa: ANN401
        if self.broken:
            raise ConnectTimeoutError(endpoint_url="sqs")
        self.dead.append(call)


@dataclass
class Engine:
    """A consumer of Slack's, what it is told by Slack, and what it did."""

    table: Any
    now: datetime = START
    received_at: datetime = START
    """When the message was first received."""
    answer: str | Exception = "ts"
    sent: list[Outgoing] = field(default_factory=list)
    queue: Queue = field(default_factory=Queue)
    during_send: Callable[[], object] = lambda: None
    topic: Topic = Topic.SALES
    id: str = field(default_factory=lambda: str(uuid4()))

    def send(self, outgoing: Outgoing) -> str:
        self.sent.append(outgoing)
        self.during_send()
        self.now += timedelta(seconds=1)
        if isinstance(self.answer, Exception):
            # A fresh one: the engine writes into it.
            raise copy(self.answer)
        return self.answer

    @property
    def request(self) -> AssistanceRequest:
        return AssistanceRequest(id=self.id, topic=self.topic, description="help", created_at=CREATED)

    @property
    def consumer(self) -> Consumer:
        return Consumer(
            channel=Channel.SLACK,
            send=self.send,
            requests=Requests(self.table, lambda: self.now),
            sqs=cast(Any, self.queue),
            queue_url="queue",
            dlq_url="dlq",
            retry=RetryPolicy(attempts=3, first_delay=5, max_delay=900, doubt_delay=30),
            retention=RETENTION,
            clock=lambda: self.now,
            jitter=lambda _, longest: longest,
        )

    def accept(self) -> None:
        self.consumer.requests.accept(self.request, payload_hash="hash", retention=RETENTION)

    def record(self, *, fallback: Fallback | None = None, force: str | None = None, received: int = 1) -> SQSRecord:
        message = Message(request=self.request, fallback=fallback, force=force)
        attributes = {
            "ApproximateReceiveCount": str(received),
            "ApproximateFirstReceiveTimestamp": str(epoch_ms(self.received_at)),
        }
        return SQSRecord(
            {
                "messageId": "message",
                "receiptHandle": "handle",
                "body": message.model_dump_json(),
                "attributes": attributes,
                "eventSource": "aws:sqs",
            }
        )

    def deliver(self, **about: Any) -> bool:  # noqa: ANN401
        """Hand a message to the consumer. Whether it acknowledged it."""
        try:
            self.consumer.process(self.record(**about), cast(LambdaContext, Context(30_000)), Tally(), self.send)
        except (DeliveryError, IdempotencyAlreadyInProgressError):
            return False
        return True

    def item(self, channel: Channel = Channel.SLACK) -> dict[str, Any]:
        item: dict[str, Any] = self.table.get_item(Key=delivery_key(self.id, channel)).get("Item", {})
        return item

    def put(self, channel: Channel = Channel.SLACK, **attributes: Any) -> None:  # noqa: ANN401
        # Every version writes the time of a failure with it.
        failed = {"failed_at": CREATED} if attributes.get("status") == "failed" else {}
        self.table.put_item(Item={**delivery_key(self.id, channel), **failed, **attributes})

    @property
    def delays(self) -> list[int]:
        """For how long the message was hidden, each time."""
        return [call["VisibilityTimeout"] for call in self.queue.hidden]


@pytest.fixture(scope="module")
def running() -> Iterator[Cloud]:
    with cloud("http://slack.invalid/") as running:
        yield running


@pytest.fixture
def engine(running: Cloud) -> Engine:
    return Engine(running.table)


def after(engine: Engine, **changed: Any) -> dict[str, Any]:  # noqa: ANN401
    """A delivery item after one attempt."""
    ttl = int((datetime.fromisoformat(CREATED) + RETENTION).timestamp())
    return {**delivery_key(engine.id, Channel.SLACK), "ttl": ttl, "attempts": 1, **changed}


def told(outcome: str, error: str, *, in_doubt: bool = False) -> list[dict[str, Any]]:
    """The timeline of one attempt that failed."""
    return [{"at": timestamp(START), "outcome": outcome, "error": error, "in_doubt": in_doubt}]


def in_seconds(seconds: int) -> str:
    """So long after the send."""
    return timestamp(END + timedelta(seconds=seconds))


UNSETTLED = epoch_ms(END + DOUBT)


def test_while_an_attempt_is_under_way_it_holds_a_claim_that_outlasts_it(engine: Engine) -> None:
    seen: list[dict[str, Any]] = []
    engine.during_send = lambda: seen.append(engine.item())
    assert engine.deliver()
    assert seen == [after(engine, status="sending", claim_expires_at=LIVE, timeline=[{"at": timestamp(START)}])]
    assert engine.sent == [Outgoing(engine.request)]


def test_what_is_sent_is_recorded_with_the_providers_id(engine: Engine) -> None:
    assert engine.deliver()
    assert engine.item() == after(
        engine,
        status="delivered",
        delivered_at=timestamp(END),
        result='"ts"',
        attempts_given_up=1,
        timeline=[{"at": timestamp(START), "outcome": "delivered"}],
    )
    assert not engine.queue.hidden
    assert not engine.queue.dead


@pytest.mark.parametrize(
    ("answer", "left", "hidden"),
    [
        (
            TransientFailure("down"),
            {"next_attempt_at": in_seconds(5), "in_doubt": False, "timeline": told("retrying", "down")},
            5,
        ),
        (
            TransientFailure("down", retry_after=7.5),
            {"next_attempt_at": in_seconds(13), "in_doubt": False, "timeline": told("retrying", "down")},
            13,
        ),
        (
            # Nobody is given up within seconds because a proxy says so.
            TransientFailure("down", retry_after=1.5),
            {"next_attempt_at": in_seconds(7), "in_doubt": False, "timeline": told("retrying", "down")},
            7,
        ),
        (
            TransientFailure("down", retry_after=99_999),
            {"next_attempt_at": in_seconds(42_000), "in_doubt": False, "timeline": told("retrying", "down")},
            MAX_DELAY_SECONDS,
        ),
        (
            TransientFailure("down", in_doubt=True),
            {
                "next_attempt_at": in_seconds(30),
                "not_before": UNSETTLED,
                "in_doubt": True,
                "timeline": told("retrying", "down", in_doubt=True),
            },
            30,
        ),
        (
            RateLimited("down", retry_after=7),
            {"next_attempt_at": in_seconds(12), "in_doubt": False, "attempts": 0, "timeline": []},
            12,
        ),
        (
            RateLimited("down"),
            {"next_attempt_at": in_seconds(5), "in_doubt": False, "attempts": 0, "timeline": []},
            5,
        ),
    ],
)
def test_what_may_be_tried_again_says_when_and_whether_it_may_have_arrived(
    engine: Engine, answer: Exception, left: dict[str, Any], hidden: int
) -> None:
    engine.answer = answer
    assert not engine.deliver()
    assert engine.item() == after(engine, status="retrying", last_error="down", **left)
    assert engine.queue.hidden == [{"QueueUrl": "queue", "ReceiptHandle": "handle", "VisibilityTimeout": hidden}]
    assert not engine.queue.dead


def test_an_error_that_nobody_foresaw_leaves_doubt(engine: Engine) -> None:
    engine.answer = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        engine.deliver()
    timeline = told("retrying", "unexpected_error", in_doubt=True)
    expected = {"last_error": "unexpected_error", "in_doubt": True, "not_before": UNSETTLED, "timeline": timeline}
    assert engine.item() == after(engine, status="retrying", **expected)


def test_a_permanent_failure_is_dead_lettered_with_its_reason_and_falls_back(engine: Engine) -> None:
    engine.accept()
    before = engine.table.get_item(Key=request_key(engine.id))["Item"]
    engine.answer = PermanentFailure("is_archived")
    assert engine.deliver()
    [letter] = engine.queue.dead
    assert letter == {
        "QueueUrl": "dlq",
        "MessageBody": engine.record().body,
        "MessageAttributes": {
            "error_code": {"DataType": "String", "StringValue": "is_archived"},
            "channel": {"DataType": "String", "StringValue": "slack"},
            "source_message_id": {"DataType": "String", "StringValue": "message"},
        },
    }
    assert engine.item() == after(
        engine,
        status="failed",
        last_error="is_archived",
        failed_at=timestamp(END),
        in_doubt=False,
        attempts_given_up=1,
        timeline=told("failed", "is_archived"),
    )
    assert engine.table.get_item(Key=request_key(engine.id))["Item"] == {
        **before,
        "outbox": shard(engine.id),
        "outbox_channels": ["email"],
        "outbox_since": timestamp(END),
        "fallback": {"channel": "email", "failed_channel": "slack", "error": "is_archived"},
    }


def test_a_request_falls_back_once(engine: Engine) -> None:
    engine.accept()
    engine.answer = PermanentFailure("is_archived")
    engine.deliver()
    fallen = engine.table.get_item(Key=request_key(engine.id))["Item"]
    engine.put(Channel.EMAIL, status="failed")
    engine.answer = PermanentFailure("not_in_channel")
    assert engine.deliver(), "a redrive"
    assert engine.item()["last_error"] == "not_in_channel"
    assert engine.table.get_item(Key=request_key(engine.id))["Item"] == fallen


def test_nothing_fails_unless_its_message_is_in_the_dead_letter_queue(engine: Engine) -> None:
    engine.queue.broken = True
    engine.answer = PermanentFailure("is_archived")
    with pytest.raises(ConnectTimeoutError):
        engine.deliver()
    assert engine.item()["status"] == "retrying"


def test_attempts_are_counted_and_the_last_gives_up(engine: Engine) -> None:
    engine.answer = TransientFailure("down", in_doubt=True)
    for delay in (30, 30, None):
        assert engine.deliver() is (delay is None)
        engine.now += DOUBT
    assert engine.delays == [30, 30]
    item = engine.item()
    assert (item["status"], item["attempts"], item["attempts_given_up"], item["in_doubt"]) == ("failed", 3, 3, True)
    assert item["not_before"] == epoch_ms(engine.now), "a redrive waits until the doubt has settled"
    outcomes = [(attempt["outcome"], attempt["in_doubt"]) for attempt in item["timeline"]]
    assert outcomes == [("retrying", True), ("retrying", True), ("failed", True)]
    assert engine.queue.dead[0]["MessageAttributes"]["error_code"]["StringValue"] == "down"


def test_delays_grow_with_the_attempts(engine: Engine) -> None:
    engine.answer = TransientFailure("down")
    engine.deliver()
    engine.deliver(received=9)
    assert engine.delays == [5, 15]


def test_a_doubt_stays_until_the_message_is_delivered(engine: Engine) -> None:
    engine.answer = TransientFailure("lost", in_doubt=True)
    engine.deliver()
    engine.now += DOUBT
    engine.answer = TransientFailure("down")
    engine.deliver()
    assert engine.item()["in_doubt"] is True
    assert [attempt["in_doubt"] for attempt in engine.item()["timeline"]] == [True, False]
    assert engine.delays == [30, 30], "the look-up comes once what was sent has settled"
    engine.now += DOUBT
    engine.answer = RateLimited("slow_down")
    engine.deliver()
    assert engine.item()["in_doubt"] is True
    engine.answer = "ts"
    engine.now += DOUBT
    assert engine.deliver()
    assert [outgoing.in_doubt for outgoing in engine.sent] == [False, True, True, True]
    left = set(engine.item()) & {"in_doubt", "claim_expires_at", "next_attempt_at"}
    assert not left


@pytest.mark.parametrize("answer", [PermanentFailure("is_archived"), TransientFailure("down")])
@pytest.mark.parametrize("force", [None, "by hand"])
def test_giving_up_keeps_the_doubt_of_earlier_attempts_and_casts_none_on_the_last(
    engine: Engine, answer: Exception, force: str | None
) -> None:
    engine.put(status="retrying", attempts=2, in_doubt=True, timeline=[{"at": CREATED}, {"at": CREATED}])
    engine.answer = answer
    assert engine.deliver(force=force)
    item = engine.item()
    assert (item["status"], item["in_doubt"], item["not_before"]) == ("failed", True, UNSETTLED)
    assert (item["timeline"][2]["outcome"], item["timeline"][2]["in_doubt"]) == ("failed", False)


def test_an_attempt_that_died_counts(engine: Engine) -> None:
    died: dict[str, Any] = {"status": "sending", "claim_expires_at": epoch_ms(START), "timeline": [{"at": CREATED}]}
    engine.put(**died, attempts=3)
    assert engine.deliver()
    assert not engine.sent
    assert engine.queue.dead[0]["MessageAttributes"]["error_code"]["StringValue"] == "attempts_exhausted"
    assert engine.item()["in_doubt"] is True


NOW = epoch_ms(START)
WAS: dict[str, Any] = {"result": '"ts"', "delivered_at": "2026-01-01T11:00:00.000Z"}


@pytest.mark.parametrize(
    ("item", "in_doubt"),
    [
        ({"status": "retrying"}, False),
        ({"status": "retrying", "in_doubt": True}, True),
        ({"status": "retrying", "not_before": NOW}, False),
        ({"status": "failed", "not_before": NOW}, False),
        ({"status": "sending", "claim_expires_at": NOW}, True),
        ({"status": "retrying", **WAS, "failed_at": "2026-01-01T11:30:00.000Z"}, False),
    ],
)
def test_what_is_free_is_attempted(engine: Engine, item: dict[str, Any], in_doubt: bool) -> None:  # noqa: FBT001
    engine.put(**item)
    assert engine.deliver()
    assert [outgoing.in_doubt for outgoing in engine.sent] == [in_doubt]


@pytest.mark.parametrize(
    "item",
    [
        {"status": "sending", "claim_expires_at": NOW + 1},
        {"status": "retrying", "not_before": NOW + 1},
        {"status": "failed", "not_before": NOW + 1},
    ],
)
def test_what_is_claimed_or_unsettled_is_waited_for(engine: Engine, item: dict[str, Any]) -> None:
    engine.put(**item)
    before = engine.item()
    assert not engine.deliver(received=2)
    assert not engine.sent
    assert engine.delays == [15]
    assert engine.item() == before


@pytest.mark.parametrize(
    "item",
    [
        {"status": "delivered", **WAS},
        {"status": "retrying", **WAS},
        {"status": "sending", "claim_expires_at": NOW - 1, **WAS},
        {"status": "retrying", **WAS, "failed_at": "2026-01-01T10:00:00.000Z"},
    ],
)
def test_what_is_delivered_is_acknowledged_and_not_sent(engine: Engine, item: dict[str, Any]) -> None:
    engine.put(**item)
    before = engine.item()
    assert engine.deliver()
    assert not engine.sent
    assert engine.item() == before


def test_a_decision_to_force_is_carried_out_once(engine: Engine) -> None:
    engine.deliver()
    assert engine.deliver(force="first")
    assert engine.deliver(force="first")
    assert engine.deliver(force="second")
    assert [outgoing.force for outgoing in engine.sent] == [None, "first", "second"]
    item = engine.item()
    assert item["forced"] == {"first", "second"}
    assert [attempt.get("forced") for attempt in item["timeline"]] == [None, True, True]


@pytest.mark.parametrize(
    "item", [{"status": "sending", "claim_expires_at": NOW + 1}, {"status": "retrying", "not_before": NOW + 1}]
)
def test_a_decision_to_force_waits_for_an_attempt_that_may_be_under_way(engine: Engine, item: dict[str, Any]) -> None:
    engine.put(**item, **WAS)
    assert not engine.deliver(force="by hand")
    assert not engine.sent


def test_a_forced_send_that_fails_takes_nothing_back(engine: Engine) -> None:
    engine.deliver()
    delivered = engine.item()
    engine.answer = TransientFailure("down", in_doubt=True)
    assert not engine.deliver(force="first")
    waiting = engine.item()
    assert (waiting["status"], waiting["delivered_at"]) == ("retrying", delivered["delivered_at"])
    assert waiting["attempts_given_up"] == 1
    assert "forced" not in waiting, "it has not been carried out"
    engine.now += DOUBT
    engine.answer = PermanentFailure("is_archived")
    assert engine.deliver(force="first")
    given_up = engine.item()
    failed = {"outcome": "failed", "error": "is_archived", "in_doubt": False, "forced": True}
    assert given_up["timeline"][2].items() >= failed.items()
    kept = ("status", "delivered_at", "result")
    assert [given_up[name] for name in kept] == [delivered[name] for name in kept]
    assert (given_up["in_doubt"], given_up["attempts_given_up"]) == (True, 3)
    assert "forced" not in given_up, "a redrive carries the decision out"


def test_an_attempt_whose_claim_has_passed_writes_nothing_but_that_it_sent(engine: Engine) -> None:
    def lose() -> None:
        engine.put(status="sending", claim_expires_at=LIVE + 1, attempts=2, timeline=[{"at": CREATED}])

    engine.during_send = lose
    for answer in (TransientFailure("down"), RateLimited("slow_down"), PermanentFailure("is_archived")):
        engine.table.delete_item(Key=delivery_key(engine.id, Channel.SLACK))
        engine.now, engine.answer = START, answer
        engine.deliver()
        assert engine.item()["claim_expires_at"] == LIVE + 1
        assert set(engine.item()) == {"pk", "sk", "status", "claim_expires_at", "attempts", "timeline"}
    engine.table.delete_item(Key=delivery_key(engine.id, Channel.SLACK))
    engine.now, engine.answer = START, "ts"
    engine.deliver()
    assert engine.item()["status"] == "delivered"


def test_a_fallback_that_is_not_needed_leaves_another_attempts_claim(engine: Engine) -> None:
    def look(requests: Requests, request_id: str) -> RequestRecord:
        engine.put(status="sending", claim_expires_at=LIVE + 1)
        delivered = Delivery(Channel.EMAIL, Status.DELIVERED, attempts=1)
        return RequestRecord(engine.request, (Channel.EMAIL,), None, (delivered,))

    with patch.object(Requests, "get", look):
        assert engine.deliver(fallback=FROM_EMAIL)
    assert engine.item()["claim_expires_at"] == LIVE + 1


def test_a_back_off_that_cannot_be_set_changes_nothing_else(engine: Engine) -> None:
    engine.queue.broken = True
    engine.answer = TransientFailure("down")
    assert not engine.deliver()
    assert engine.item()["status"] == "retrying"


def test_a_fallback_does_not_send_what_its_channel_has_delivered_after_all(engine: Engine) -> None:
    engine.topic = Topic.PRICING
    engine.accept()
    engine.put(Channel.EMAIL, status="delivered", delivered_at=CREATED)
    assert engine.deliver(fallback=FROM_EMAIL)
    assert not engine.sent
    assert engine.item() == {}, "it was never tried here"


@pytest.mark.parametrize("until", [0, 1])
def test_a_fallback_waits_for_a_redrive_that_is_under_way(engine: Engine, until: int) -> None:
    engine.topic = Topic.PRICING
    engine.accept()
    failed = {"failed_at": CREATED, "claim_expires_at": NOW + until}
    engine.put(Channel.EMAIL, status="sending", **failed)
    assert engine.deliver(fallback=FROM_EMAIL) is (until == 0)
    assert [outgoing.fallback for outgoing in engine.sent] == [FROM_EMAIL] * (1 - until)
    assert engine.delays == [10] * until
    assert engine.item().get("last_error") == ("redrive_under_way" if until else None)


def test_a_redrive_waits_for_a_fallback_and_leaves_what_it_delivered(engine: Engine) -> None:
    engine.accept()
    engine.answer = PermanentFailure("is_archived")
    engine.deliver()
    failed = engine.item()
    engine.answer = "ts"
    assert not engine.deliver()
    assert engine.item()["last_error"] == "fallback_under_way"
    assert (engine.item()["attempts"], engine.item()["status"]) == (1, "retrying")
    assert engine.delays == [10]
    engine.table.put_item(Item=failed)
    engine.put(Channel.EMAIL, status="delivered", delivered_at=CREATED)
    assert engine.deliver()
    assert engine.item() == failed, "the redrive left no trace"
    assert len(engine.sent) == 1
    assert len(engine.queue.dead) == 1


def test_a_redrive_of_a_request_that_has_expired_sends(engine: Engine) -> None:
    engine.put(status="failed", failed_at=CREATED)
    assert engine.deliver()
    assert len(engine.sent) == 1


def test_a_forced_send_asks_no_other_channel(engine: Engine) -> None:
    engine.topic = Topic.PRICING
    engine.accept()
    engine.put(Channel.EMAIL, status="delivered", delivered_at=CREATED)
    assert engine.deliver(fallback=FROM_EMAIL, force="by hand")
    assert engine.sent == [Outgoing(engine.request, fallback=FROM_EMAIL, force="by hand")]


def test_a_channel_that_cannot_see_the_others_waits(engine: Engine) -> None:
    engine.topic = Topic.PRICING
    with patch.object(Requests, "get", side_effect=TableUnavailable("ThrottlingException")):
        assert not engine.deliver(fallback=FROM_EMAIL)
    assert (engine.item()["last_error"], engine.item()["attempts"]) == ("table_unavailable", 0)


def test_a_batch_reports_just_what_is_to_come_again(engine: Engine) -> None:
    records = [{**engine.record().raw_event, "messageId": "bad", "body": "{}"}, engine.record().raw_event]
    engine.answer = TransientFailure("down")
    answer = engine.consumer.handle({"Records": records}, cast(LambdaContext, Context()))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message"}]}
    assert [letter["MessageAttributes"]["error_code"]["StringValue"] for letter in engine.queue.dead] == [
        "malformed_message"
    ]


@pytest.mark.parametrize(
    ("answer", "doubt"),
    [
        (TransientFailure("down"), False),
        (TransientFailure("lost", in_doubt=True), True),
        (RateLimited("slow_down"), False),
    ],
)
def test_a_forced_send_that_waits_is_not_taken_for_another_that_was_sent(
    engine: Engine,
    answer: Exception,
    doubt: bool,  # noqa: FBT001
) -> None:
    engine.deliver()
    engine.answer = answer
    assert not engine.deliver(force="first")
    engine.answer = "ts"
    engine.now += DOUBT
    assert engine.deliver(force="second")
    assert engine.deliver(force="first")
    assert [(each.force, each.in_doubt) for each in engine.sent][2:] == [("second", doubt), ("first", doubt)]


def test_a_rate_limit_that_does_not_end_is_given_up(engine: Engine) -> None:
    """A day's quota is said in the same words as a second's."""
    engine.answer = RateLimited("ThrottlingException")
    for _ in range(5):
        assert not engine.deliver()
        engine.now += timedelta(minutes=11)
    assert engine.item()["attempts"] == 0
    engine.now += timedelta(minutes=6)
    for _ in range(2):
        assert not engine.deliver()
    assert engine.deliver()
    item = engine.item()
    assert (item["status"], item["last_error"], item["attempts"]) == ("failed", "ThrottlingException", 3)


def test_a_rate_limit_is_not_held_against_what_was_redriven_or_first_received_just_now(engine: Engine) -> None:
    engine.now = engine.received_at = START + timedelta(days=1)
    engine.answer = RateLimited("slow_down", retry_after=1)
    for _ in range(5):
        assert not engine.deliver()
    assert engine.item()["attempts"] == 0


def test_a_batch_of_which_nothing_was_delivered_is_reported_too(engine: Engine) -> None:
    engine.answer = TransientFailure("down")
    answer = engine.consumer.handle({"Records": [engine.record().raw_event]}, cast(LambdaContext, Context()))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message"}]}


def test_a_whole_batch_is_attempted_side_by_side(engine: Engine) -> None:
    together = Barrier(10)
    engine.during_send = lambda: together.wait(timeout=30)
    records = []
    for number in range(10):
        engine.id = str(uuid4())
        records.append({**engine.record().raw_event, "messageId": str(number)})
    assert engine.consumer.handle({"Records": records}, cast(LambdaContext, Context())) == {"batchItemFailures": []}
