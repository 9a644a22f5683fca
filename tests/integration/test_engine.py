"""Tests the delivery engine with a table: the stored record of each attempt decides about the next attempt."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier
from typing import Any, cast
from unittest.mock import patch
from uuid import uuid4

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ConnectTimeoutError

from assistance.domain import transitions
from assistance.domain.record import Attempt, Delivery, Entry, Kind, Outcome, Record, StandsInFor
from assistance.engine.batch_sending import send_alone
from assistance.engine.decisions import MAX_DELAY_SECONDS
from assistance.engine.delivery import Consumer
from assistance.errors import PermanentFailure, RateLimited, TransientFailure
from assistance.models import AssistanceRequest, Message, Outgoing, StoredRoute
from assistance.platform.clock import epoch_ms
from assistance.platform.metrics import Tally
from assistance.routing import Channel, RetryPolicy, Topic
from assistance.store.requests import Requests
from assistance.store.table import Items
from tests.integration.cloud import Cloud, Context, cloud
from tests.records import put_delivery

# Far in the future, since the helpers that prepare a record use the real clock.
START = datetime(2126, 1, 1, 12, tzinfo=UTC)
# Each send takes a second.
END = START + timedelta(seconds=1)
CREATED = "2126-01-01T11:59:00.000Z"
RETENTION = timedelta(days=90)
DOUBT = timedelta(seconds=30)
NOW, ENDED = epoch_ms(START), epoch_ms(END)
CLAIMED_UNTIL = epoch_ms(START + timedelta(seconds=30) + DOUBT)
SETTLES = epoch_ms(END + DOUBT)
CAUSE = StandsInFor("email", "rejected")


@dataclass
class Queue:
    """A fake queue that records the consumer's calls to SQS."""

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
    """A consumer of Slack messages about one request, with a record of what it sends, hides and dead-letters.

    `answer`: the result of its send function: the message's id, or an exception to raise.
    """

    table: Any
    now: datetime = START
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
            raise copy(self.answer)
        return self.answer

    @property
    def request(self) -> AssistanceRequest:
        return AssistanceRequest(id=self.id, topic=self.topic, description="help", created_at=CREATED)

    @property
    def requests(self) -> Requests:
        return Requests(Items(self.table), lambda: self.now)

    @property
    def consumer(self) -> Consumer:
        return Consumer(
            channel=Channel.SLACK,
            send=self.send,
            requests=self.requests,
            sqs=cast(Any, self.queue),
            queue_url="queue",
            dlq_url="dlq",
            retry=RetryPolicy(attempts=3, first_delay=5, max_delay=900, doubt_delay=30),
            place=lambda _: "C0ASSIST",
            clock=lambda: self.now,
            jitter=lambda _, longest: longest,
        )

    def accept(self) -> None:
        self.requests.accept(self.request, payload_hash="hash", retention=RETENTION)

    def message(self, *, received: int = 1, delivery: str | None = None) -> SQSRecord:
        accepted = self.requests.items.get({"pk": self.id, "sk": "REQUEST"})
        assert accepted
        route = StoredRoute.model_validate({"channels": accepted["channels"], "fallback": accepted["fallback_channel"]})
        message = Message(request=self.request, route=route, ttl=int(accepted["ttl"]), delivery=delivery)
        return SQSRecord(
            {
                "messageId": "message",
                "receiptHandle": "handle",
                "body": message.model_dump_json(exclude_none=True),
                "attributes": {"ApproximateReceiveCount": str(received)},
                "eventSource": "aws:sqs",
            }
        )

    def deliver(self, **about: Any) -> bool:  # noqa: ANN401
        """Pass a message to the consumer, and return whether it acknowledges that. `about`: arguments of `message`."""
        context = cast(LambdaContext, Context(30_000))
        return self.consumer.process(self.message(**about), context, Tally(), lambda one: send_alone(self.send, one))

    @property
    def record(self) -> Record:
        return self.requests.read(self.id).record

    def delivery(self, name: str = "slack") -> Delivery:
        found = self.record.delivery(name)
        assert found
        return found

    def put(self, name: str = "slack", **changes: Any) -> None:  # noqa: ANN401
        """Store the request's record with `changes` in the delivery `name`."""
        put_delivery(self.table, self.id, name, **changes)

    @property
    def attempts(self) -> list[tuple[str, str | None, bool]]:
        return [(each.outcome, each.error, each.in_doubt) for each in self.delivery().attempts]

    @property
    def delays(self) -> list[int]:
        """The visibility timeouts that the consumer has set, in order."""
        return [call["VisibilityTimeout"] for call in self.queue.hidden]

    @property
    def codes(self) -> list[str]:
        """The error codes of the dead letters."""
        return [letter["MessageAttributes"]["error_code"]["StringValue"] for letter in self.queue.dead]


@pytest.fixture(scope="module")
def running() -> Iterator[Cloud]:
    with cloud("http://slack.invalid/") as running:
        yield running


@pytest.fixture
def engine(running: Cloud) -> Engine:
    engine = Engine(running.table)
    engine.accept()
    return engine


@pytest.fixture
def by_email(running: Cloud) -> Engine:
    """A request whose delivery by email has failed, with Slack as its fallback."""
    engine = Engine(running.table, topic=Topic.PRICING)
    engine.accept()
    failed = Attempt("first", NOW - 1, Outcome.FAILED, error="rejected", ended_at=NOW - 1)

    def fell_back(record: Record) -> tuple[Record, None]:
        own = replace(record.deliveries[0], attempts=(failed,))
        return replace(record, deliveries=(own, Delivery("fallback", "slack", Kind.FALLBACK, CAUSE))), None

    engine.requests.change(engine.id, fell_back)
    return engine


def test_a_running_attempt_holds_the_lock_of_the_delivery(engine: Engine) -> None:
    seen: list[Delivery] = []
    engine.during_send = lambda: seen.append(engine.delivery())
    assert engine.deliver()
    [under_way] = seen
    assert under_way.locked_until == CLAIMED_UNTIL
    [attempt] = under_way.attempts
    assert (attempt.at, attempt.outcome, attempt.place) == (NOW, Outcome.UNKNOWN, "C0ASSIST")
    assert engine.sent == [Outgoing(engine.request, under_way, engine.requests.read(engine.id).record.ttl)]


def test_a_delivery_is_recorded_with_the_providers_message_id(engine: Engine) -> None:
    assert engine.deliver()
    delivery = engine.delivery()
    [attempt] = delivery.attempts
    assert (attempt.outcome, attempt.result, attempt.ended_at) == (Outcome.DELIVERED, "ts", ENDED)
    assert (delivery.final, delivery.locked_until, delivery.due_at) == (Outcome.DELIVERED, 0, None)
    assert not engine.queue.hidden
    assert not engine.queue.dead


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (TransientFailure("down"), 5),
        (TransientFailure("down", retry_after=7.5), 13),
        # A response of a proxy does not make a delivery fail within seconds.
        (TransientFailure("down", retry_after=1.5), 7),
        (TransientFailure("down", retry_after=99_999), MAX_DELAY_SECONDS),
        (TransientFailure("down", in_doubt=True), 30),
        (RateLimited("down", retry_after=7), 12),
        (RateLimited("down"), 6),
    ],
)
def test_a_transient_failure_records_when_the_next_attempt_is_due_and_whether_the_outcome_is_unknown(
    engine: Engine, answer: Exception, seconds: int
) -> None:
    engine.answer = answer
    assert not engine.deliver()
    delivery, in_doubt = engine.delivery(), getattr(answer, "in_doubt", False)
    assert delivery.due_at == ENDED + 1_000 * seconds
    assert delivery.locked_until == (SETTLES if in_doubt else 0)
    if isinstance(answer, RateLimited):
        assert (engine.attempts, delivery.waiting_for) == ([], "down"), "nothing was tried"
    else:
        assert engine.attempts == [("retrying", "down", in_doubt)]
    assert engine.queue.hidden == [{"QueueUrl": "queue", "ReceiptHandle": "handle", "VisibilityTimeout": seconds}]
    assert not engine.queue.dead


def test_an_unforeseen_exception_ends_the_attempt_with_unknown_outcome(engine: Engine) -> None:
    engine.answer = RuntimeError("a bug")
    assert not engine.deliver()
    assert engine.attempts == [("retrying", "unexpected_error", True)]
    assert engine.delivery().locked_until == SETTLES


def test_a_permanent_failure_causes_a_dead_letter_with_its_reason_and_starts_the_fallback(engine: Engine) -> None:
    engine.answer = PermanentFailure("is_archived")
    assert engine.deliver()
    [letter] = engine.queue.dead
    assert letter == {
        "QueueUrl": "dlq",
        "MessageBody": engine.message().body,
        "MessageAttributes": {
            "error_code": {"DataType": "String", "StringValue": "is_archived"},
            "channel": {"DataType": "String", "StringValue": "slack"},
            "source_message_id": {"DataType": "String", "StringValue": "message"},
        },
    }
    assert engine.attempts == [("failed", "is_archived", False)]
    fallback = engine.delivery("fallback")
    assert (fallback.destination, fallback.cause) == ("email", StandsInFor("slack", "is_archived"))
    assert engine.record.outbox == (Entry("fallback", ENDED),)


def test_a_request_uses_its_fallback_once(engine: Engine) -> None:
    engine.answer = PermanentFailure("is_archived")
    engine.deliver()
    engine.put("fallback", attempts=(Attempt("mail", NOW, Outcome.FAILED, ended_at=NOW),))
    before = engine.delivery("fallback"), engine.record.outbox
    engine.answer = PermanentFailure("not_in_channel")
    assert engine.deliver(received=2), "a redrive"
    assert engine.attempts[-1] == ("failed", "not_in_channel", False)
    assert (engine.delivery("fallback"), engine.record.outbox) == before


def test_a_delivery_is_recorded_as_failed_only_after_its_dead_letter_was_written(engine: Engine) -> None:
    engine.queue.broken = True
    engine.answer = PermanentFailure("is_archived")
    with pytest.raises(ConnectTimeoutError):
        engine.deliver()
    assert engine.attempts == [("unknown", None, False)]
    assert engine.delivery().locked_until == CLAIMED_UNTIL, "the claim is left to expire"
    engine.queue.broken = False
    engine.now = START + timedelta(minutes=2)
    assert engine.deliver(received=2)
    assert engine.codes == ["is_archived"]
    assert engine.delivery().final is Outcome.FAILED


def test_a_delivery_is_recorded_as_failed_after_its_last_attempt(engine: Engine) -> None:
    engine.answer = TransientFailure("down", in_doubt=True)
    for number, delay in enumerate((30, 30, None)):
        assert engine.deliver(received=number + 1) is (delay is None)
        engine.now += DOUBT
    assert engine.delays == [30, 30]
    assert engine.attempts == [("retrying", "down", True), ("retrying", "down", True), ("failed", "down", True)]
    assert engine.delivery().locked_until == epoch_ms(engine.now), "a redrive waits until the doubt has settled"
    assert engine.codes == ["down"]


def test_the_delay_before_the_next_attempt_grows_with_the_number_of_attempts(engine: Engine) -> None:
    engine.answer = TransientFailure("down")
    engine.deliver()
    engine.deliver(received=9)
    assert engine.delays == [5, 15]


def test_the_unknown_outcome_of_an_attempt_is_remembered_until_the_message_is_delivered(engine: Engine) -> None:
    answers: tuple[str | Exception, ...] = (
        TransientFailure("lost", in_doubt=True),
        TransientFailure("down"),
        RateLimited("slow_down"),
        "ts",
    )
    for number, answer in enumerate(answers):
        engine.answer = answer
        assert engine.deliver(received=number + 1) is (answer == "ts")
        engine.now += DOUBT
    assert [bool(outgoing.doubts) for outgoing in engine.sent] == [False, True, True, True]
    assert engine.delays == [30, 30, 46], "the look-up comes once the message in doubt has settled"
    delivery = engine.delivery()
    assert (delivery.doubts, delivery.locked_until, delivery.due_at) == ((), 0, None)


@pytest.mark.parametrize("answer", [PermanentFailure("is_archived"), TransientFailure("down")])
def test_a_failed_delivery_keeps_the_unknown_outcomes_of_earlier_attempts_and_adds_none(
    engine: Engine, answer: Exception
) -> None:
    engine.put(attempts=(Attempt("1", NOW - 2, ended_at=NOW - 2), Attempt("2", NOW - 1)), locked_until=NOW)
    engine.answer = answer
    assert engine.deliver(received=3)
    assert [each[2] for each in engine.attempts] == [False, False, False]
    delivery = engine.delivery()
    assert (delivery.final, len(delivery.doubts), delivery.locked_until) == (Outcome.FAILED, 2, SETTLES)


def test_a_crashed_attempt_counts_towards_the_attempt_limit(engine: Engine) -> None:
    engine.put(attempts=tuple(Attempt(str(number), NOW - 9) for number in range(3)), locked_until=NOW)
    assert engine.deliver(received=4)
    assert not engine.sent
    assert engine.codes == ["attempts_exhausted"]
    assert len(engine.delivery().attempts) == 3
    assert engine.delivery().attempts[-1].in_doubt


RETRYING = Attempt("before", NOW - 9, Outcome.RETRYING, error="down", ended_at=NOW - 8)
IN_DOUBT = replace(RETRYING, in_doubt=True)
DIED = Attempt("before", NOW - 9)
FAILED = replace(RETRYING, outcome=Outcome.FAILED)
DONE = Attempt("before", NOW - 9, Outcome.DELIVERED, ended_at=NOW - 8, result="ts")
CAME_BACK = replace(DONE, returned_at=NOW - 7, error="bounce_permanent")


@pytest.mark.parametrize(
    ("attempt", "locked_until", "in_doubt"),
    [
        (RETRYING, 0, False),
        (IN_DOUBT, NOW, True),
        (DIED, NOW, True),
        (CAME_BACK, 0, False),
    ],
)
def test_a_delivery_whose_lock_has_expired_is_attempted_again(
    engine: Engine, attempt: Attempt, locked_until: int, *, in_doubt: bool
) -> None:
    engine.put(attempts=(attempt,), locked_until=locked_until)
    assert engine.deliver(received=2)
    assert [bool(outgoing.doubts) for outgoing in engine.sent] == [in_doubt]


@pytest.mark.parametrize("attempt", [DIED, IN_DOUBT, replace(FAILED, in_doubt=True)])
def test_a_message_waits_while_another_attempt_holds_the_claim_or_was_in_doubt_only_recently(
    engine: Engine, attempt: Attempt
) -> None:
    engine.put(attempts=(attempt,), locked_until=NOW + 1)
    before = engine.record
    assert not engine.deliver(received=2)
    assert not engine.sent
    assert engine.delays == [1 + 15]
    assert engine.record == before


@pytest.mark.parametrize("received", [1, 2])
@pytest.mark.parametrize("attempts", [(DONE,), (DONE, replace(RETRYING, id="late")), (DONE, replace(DIED, id="late"))])
def test_the_message_of_a_delivered_request_is_acknowledged_and_not_sent(
    engine: Engine, attempts: tuple[Attempt, ...], received: int
) -> None:
    engine.put(attempts=attempts)
    before = engine.record
    assert engine.deliver(received=received)
    assert not engine.sent
    assert engine.record == before


def test_a_resend_sends_one_message(engine: Engine) -> None:
    engine.deliver()
    for name in ("resend-first", "resend-second"):
        asked = partial(resent, name=name)
        engine.requests.change(engine.id, asked)
    for name in ("resend-first", "resend-first", "resend-second"):
        assert engine.deliver(delivery=name)
    assert [outgoing.delivery.name for outgoing in engine.sent] == ["slack", "resend-first", "resend-second"]
    assert engine.delivery("resend-first").final is Outcome.DELIVERED
    assert len(engine.delivery().attempts) == 1, "the original keeps its own history"


def test_the_original_delivery_keeps_the_status_delivered_after_a_resend_failed(engine: Engine) -> None:
    engine.deliver()
    delivered = engine.delivery()
    engine.requests.change(engine.id, partial(resent, name="resend-first"))
    engine.answer = TransientFailure("down", in_doubt=True)
    assert not engine.deliver(delivery="resend-first")
    engine.now += DOUBT
    engine.answer = PermanentFailure("is_archived")
    assert engine.deliver(delivery="resend-first", received=2)
    assert engine.delivery("resend-first").final is Outcome.FAILED
    assert engine.delivery() == delivered
    assert engine.record.status == "delivered"
    assert Message.model_validate_json(engine.queue.dead[0]["MessageBody"]).delivery == "resend-first"


def test_the_unknown_outcome_of_a_resend_does_not_affect_other_resends(engine: Engine) -> None:
    engine.deliver()
    for name in ("resend-first", "resend-second"):
        engine.requests.change(engine.id, partial(resent, name=name))
    engine.answer = TransientFailure("lost", in_doubt=True)
    assert not engine.deliver(delivery="resend-first")
    engine.answer = "ts"
    engine.now += DOUBT
    assert engine.deliver(delivery="resend-second")
    assert engine.deliver(delivery="resend-first", received=2)
    resends = [(each.delivery.name, bool(each.doubts)) for each in engine.sent][2:]
    assert resends == [("resend-second", False), ("resend-first", True)]


def test_an_attempt_whose_lock_has_expired_records_only_a_success(engine: Engine) -> None:
    other = Attempt("other", NOW)
    engine.during_send = lambda: engine.put(attempts=(other,), locked_until=CLAIMED_UNTIL + 1)
    for answer in (TransientFailure("down"), RateLimited("slow_down"), PermanentFailure("is_archived")):
        engine.put(attempts=(), locked_until=0)
        engine.now, engine.answer = START, answer
        engine.deliver()
        assert engine.delivery().attempts == (other,)
        assert engine.delivery().locked_until == CLAIMED_UNTIL + 1
    engine.put(attempts=(), locked_until=0)
    engine.now, engine.answer = START, "ts"
    engine.deliver()
    assert engine.delivery().final is Outcome.DELIVERED


def test_an_error_while_changing_the_visibility_timeout_does_not_affect_the_attempt(engine: Engine) -> None:
    engine.queue.broken = True
    engine.answer = TransientFailure("down")
    assert not engine.deliver()
    assert engine.attempts == [("retrying", "down", False)]


def test_a_fallback_message_says_which_channel_failed_and_why(by_email: Engine) -> None:
    assert by_email.deliver(delivery="fallback")
    assert [outgoing.delivery.cause for outgoing in by_email.sent] == [StandsInFor(Channel.EMAIL, "rejected")]


def test_a_fallback_is_not_sent_if_the_channel_that_had_failed_has_delivered_meanwhile(by_email: Engine) -> None:
    by_email.put("email", attempts=(DONE,))
    assert by_email.deliver(delivery="fallback")
    assert not by_email.sent
    assert by_email.delivery("fallback").attempts == ()


@pytest.mark.parametrize("until", [0, 1])
def test_a_fallback_waits_while_an_attempt_with_a_redriven_message_is_running(by_email: Engine, until: int) -> None:
    by_email.put("email", attempts=(FAILED, Attempt("redrive", NOW - 1)), locked_until=NOW + until)
    assert by_email.deliver(delivery="fallback") is (until == 0)
    assert len(by_email.sent) == 1 - until
    assert by_email.delays == [1 + 5] * until


def test_a_redriven_message_waits_for_the_fallback_and_is_not_sent_after_the_fallback_delivered(engine: Engine) -> None:
    engine.answer = PermanentFailure("is_archived")
    engine.deliver()
    failed = engine.delivery()
    engine.answer = "ts"
    assert not engine.deliver()
    assert engine.delivery() == failed
    assert engine.delays == [1 + 5]
    engine.put("fallback", attempts=(DONE,))
    assert engine.deliver(received=2)
    assert engine.delivery() == failed, "the redrive left no trace"
    assert len(engine.sent) == 1
    assert len(engine.queue.dead) == 1


@pytest.mark.parametrize("received", [1, 2])
def test_the_message_of_an_expired_request_is_acknowledged_and_not_sent(engine: Engine, received: int) -> None:
    engine.now = START + RETENTION
    assert engine.deliver(received=received)
    assert not engine.sent
    assert not engine.queue.dead


def test_a_message_is_received_again_if_the_delivery_record_cannot_be_written(engine: Engine) -> None:
    lost = ConnectTimeoutError(endpoint_url="dynamodb")
    message = engine.message(received=2)
    context = cast(LambdaContext, Context())
    with patch("botocore.client.BaseClient._make_api_call", side_effect=lost):
        assert not engine.consumer.process(message, context, Tally(), lambda one: send_alone(engine.send, one))
    assert not engine.sent


def test_the_batch_response_names_only_the_messages_to_receive_again(engine: Engine) -> None:
    message = engine.message().raw_event
    engine.answer = TransientFailure("down")
    records = [{**message, "messageId": "bad", "body": "{}"}, message]
    answer = engine.consumer.handle({"Records": records}, cast(LambdaContext, Context()))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message"}]}
    assert engine.codes == ["malformed_message"]


def test_a_record_of_which_not_even_an_error_can_be_logged_does_not_affect_the_others_of_its_batch(
    engine: Engine,
) -> None:
    message = engine.message().raw_event
    answer = engine.consumer.handle({"Records": [{"messageId": "bodyless"}, message]}, cast(LambdaContext, Context()))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bodyless"}]}
    assert engine.delivery().final is Outcome.DELIVERED


def test_a_delivery_fails_if_it_is_rate_limited_for_longer_than_the_maximum_time(engine: Engine) -> None:
    """Not every rate limit ends soon: SES also reports an exceeded daily quota by the error for its rate per second."""
    engine.answer = RateLimited("ThrottlingException")
    for _ in range(5):
        assert not engine.deliver()
        engine.now += timedelta(minutes=12)
    assert engine.attempts == []
    engine.now += timedelta(minutes=1)
    for _ in range(2):
        assert not engine.deliver(received=9)
    assert engine.deliver(received=9)
    assert [each[:2] for each in engine.attempts][-1] == ("failed", "ThrottlingException")
    assert len(engine.attempts) == 3


def test_the_time_before_a_rate_limit_does_not_count_towards_the_maximum_rate_limited_time(engine: Engine) -> None:
    engine.now = START + timedelta(days=1)
    engine.answer = RateLimited("slow_down", retry_after=1)
    for _ in range(5):
        assert not engine.deliver()
    assert engine.attempts == []


def test_the_batch_response_names_every_message_if_none_was_delivered(engine: Engine) -> None:
    engine.answer = TransientFailure("down")
    answer = engine.consumer.handle({"Records": [engine.message().raw_event]}, cast(LambdaContext, Context()))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message"}]}


def test_the_messages_of_a_batch_are_attempted_in_parallel(engine: Engine) -> None:
    together = Barrier(10)
    engine.during_send = lambda: together.wait(timeout=30)
    records = []
    for number in range(10):
        engine.id = str(uuid4())
        engine.accept()
        records.append({**engine.message().raw_event, "messageId": str(number)})
    assert engine.consumer.handle({"Records": records}, cast(LambdaContext, Context())) == {"batchItemFailures": []}


def resent(record: Record, name: str) -> tuple[Record, None]:
    added = transitions.resend(record, name, "slack", now=NOW)
    assert added
    return added, None
