"""Tests reading dead letters: all are read, whatever they contain, and all become visible again."""

import json
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, cast

import pytest

from assistance.engine.dead_letters import READ_SECONDS, DeadLetter, Depth, depth, reading, request_id_in
from assistance.platform.clock import utc_now

ID = "0199f3c2-0000-7000-8000-000000000000"
OTHER = "0199f3c2-0000-7000-8000-000000000001"
BODY = json.dumps({"request": {"id": ID}})


@dataclass
class Queue:
    """A fake SQS queue that hands out each message once, or with `again` all of them over and over."""

    messages: list[dict[str, Any]]
    again: bool = False
    """Whether a received message soon becomes visible again."""
    lock: Lock = field(default_factory=Lock)
    received: list[dict[str, Any]] = field(default_factory=list)
    released: list[dict[str, Any]] = field(default_factory=list)

    def receive_message(self, **call: Any) -> dict[str, Any]:  # noqa: ANN401
        self.received.append(call)
        size = call["MaxNumberOfMessages"]
        with self.lock:
            answer, rest = self.messages[:size], self.messages[size:]
            self.messages = rest + answer * self.again
        return {"Messages": answer} if answer else {}

    def change_message_visibility_batch(self, **call: Any) -> None:  # noqa: ANN401
        ids = [entry["Id"] for entry in call["Entries"]]
        assert 1 <= len(ids) <= 10
        assert len(set(ids)) == len(ids)
        assert call["QueueUrl"] == "dlq"
        self.released += call["Entries"]


def message(number: int = 0, reasons: dict[str, str] | None = None) -> dict[str, Any]:
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in (reasons or {}).items()}
    return {
        "MessageId": f"message-{number}",
        "ReceiptHandle": f"handle-{number}",
        "Body": BODY,
        "Attributes": {"SentTimestamp": "1767268800000"},
        **({"MessageAttributes": attributes} if attributes else {}),
    }


def read_all(queue: Queue, **about: Any) -> list[DeadLetter]:  # noqa: ANN401
    with reading(cast(Any, queue), "dlq", **about) as letters:
        assert not queue.released, "nobody else gets them meanwhile"
        return letters


def test_reading_dead_letters_returns_all_of_them_and_makes_them_visible_again_immediately() -> None:
    queue = Queue([message(number) for number in range(23)])
    letters = read_all(queue)
    assert {letter.message_id for letter in letters} == {f"message-{number}" for number in range(23)}
    assert {entry["ReceiptHandle"] for entry in queue.released} == {f"handle-{number}" for number in range(23)}
    assert len(letters) == len(queue.released) == 23
    assert {entry["VisibilityTimeout"] for entry in queue.released} == {0}
    assert queue.received[0] == {
        "QueueUrl": "dlq",
        "MaxNumberOfMessages": 10,
        "VisibilityTimeout": READ_SECONDS,
        "WaitTimeSeconds": 1,
        "MessageAttributeNames": ["All"],
        "MessageSystemAttributeNames": ["SentTimestamp"],
    }


def test_reading_dead_letters_stops_at_the_given_limit() -> None:
    queue = Queue([message(number) for number in range(30)])
    assert len(read_all(queue, limit=20)) == 20
    assert len(queue.messages) == 10


def test_thousands_of_dead_letters_can_be_read_in_parallel_without_keeping_their_bodies() -> None:
    queue = Queue([message(number) for number in range(2_345)])
    letters = read_all(queue, limit=10_000, bodies=False)
    assert len(letters) == len(queue.released) == 2_345
    assert {(letter.body, letter.request_id) for letter in letters} == {("", ID)}


def test_reading_dead_letters_stops_when_sqs_returns_the_first_ones_again() -> None:
    queue = Queue([message(number) for number in range(10)], again=True)
    assert len(read_all(queue)) == 10


def test_an_error_while_reading_dead_letters_makes_those_already_read_visible_again() -> None:
    queue = Queue([message()])
    with pytest.raises(ValueError, match="failed"), reading(cast(Any, queue), "dlq"):
        raise ValueError("failed")
    assert [entry["ReceiptHandle"] for entry in queue.released] == ["handle-0"]


def test_an_empty_dead_letter_queue_is_read_with_one_receive_call() -> None:
    queue = Queue([])
    assert read_all(queue) == []
    assert len(queue.received) == 1
    assert not queue.released


@pytest.mark.parametrize(
    ("reasons", "reason"),
    [
        ({"error_code": "is_archived", "channel": "slack"}, "is_archived"),
        ({"ErrorCode": "AWS.SimpleQueueService.NonExistentQueue"}, "AWS.SimpleQueueService.NonExistentQueue"),
        ({"error_code": "ours", "ErrorCode": "InternalFailure"}, "ours"),
        ({"error_code": "what a customer said", "ErrorCode": "InternalFailure"}, "InternalFailure"),
        ({"error_code": "<!channel>"}, "dead_lettered"),
        ({"error_code": "x" * 200}, "dead_lettered"),
        ({"channel": "slack"}, "dead_lettered"),
        ({}, "dead_lettered"),
    ],
)
def test_a_dead_letter_contains_the_reason_of_the_failure_and_the_request(reasons: dict[str, str], reason: str) -> None:
    expected = DeadLetter(
        message_id="message-0",
        receipt_handle="handle-0",
        body=BODY,
        request_id=ID,
        delivery=None,
        reason=reason,
        sent_at=1_767_268_800_000,
        held_until=utc_now(),
    )
    assert read_all(Queue([message(reasons=reasons)])) == [expected]


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        (BODY, ID),
        (json.dumps({"Message": BODY}), ID),
        (json.dumps({"Message": {}, "request": {"id": ID}}), ID),
        (json.dumps({"Message": BODY, "request": {"id": OTHER}}), OTHER),
        (json.dumps({"request": {"id": ID.upper()}}), None),
        (json.dumps({"request": {"id": f"urn:uuid:{ID}"}}), None),
        (json.dumps({"request": {"id": "no uuid"}}), None),
        (json.dumps({"request": {"id": 5}}), None),
        (json.dumps({"request": "x"}), None),
        (json.dumps({"Message": "no json"}), None),
        (json.dumps([]), None),
        ("[" * 100_000, None),
        ("no json", None),
        ("null", None),
        ("{}", None),
    ],
)
def test_the_request_id_of_a_dead_letter_is_found_in_any_attribute_or_body_that_contains_it(
    body: str, request_id: str | None
) -> None:
    assert request_id_in(body) == request_id


def test_the_depth_of_a_queue_includes_waiting_delayed_and_in_flight_messages() -> None:
    asked = []
    delayed = {"Delayed": "3"}

    class Counted:
        def get_queue_attributes(self, **call: Any) -> dict[str, Any]:  # noqa: ANN401
            asked.append(call)
            counts = {"": "5", "NotVisible": "2"} | delayed
            names = {f"ApproximateNumberOfMessages{kind}": count for kind, count in counts.items()}
            return {"Attributes": {name: names[name] for name in call["AttributeNames"] if name in names}}

    assert depth(cast(Any, Counted()), "dlq") == Depth(waiting=8, in_flight=2)
    assert Depth(8, 2).total == 10
    delayed.clear()
    assert depth(cast(Any, Counted()), "dlq") == Depth(waiting=5, in_flight=2)
    assert asked[0]["QueueUrl"] == "dlq"


def test_a_binary_message_attribute_is_not_used_as_the_reason_of_a_dead_letter() -> None:
    attributes = {"error_code": {"DataType": "Binary", "BinaryValue": b"is_archived"}}
    [letter] = read_all(Queue([message() | {"MessageAttributes": attributes}]))
    assert letter.reason == "dead_lettered"
