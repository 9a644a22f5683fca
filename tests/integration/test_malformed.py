"""Tests damaged records, messages and responses: nothing is lost, and none delays another."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from assistance.routing import CALLBACK, Channel
from local.slack_server import SlackServer
from tests.fuzz_settings import DEEP, LONG_NUMBER
from tests.integration.cloud import Cloud

SAMPLED = settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
ATTRIBUTE = st.recursive(
    st.builds(lambda text: {"S": text}, st.text(max_size=5))
    | st.builds(lambda number: {"N": str(number)}, st.integers(-(10**37), 10**37))
    | st.sampled_from([{"NULL": True}, {"BOOL": False}, {"SS": ["slack"]}, {"S": "slack"}, {"L": []}]),
    lambda inner: (
        st.builds(lambda items: {"L": items}, st.lists(inner, max_size=2))
        | st.builds(lambda items: {"M": items}, st.dictionaries(st.text(max_size=5), inner, max_size=2))
    ),
    max_leaves=4,
)
REQUEST = {
    "id": "6f0c1d9e-0000-4000-8000-000000000001",
    "topic": "sales",
    "description": "x",
    "created_at": "2026-01-31T09:30:00.000Z",
}


def message(members: dict[str, Any] | None = None, **request: object) -> str:
    """The body of a message that is valid, except for these `members` of the message and fields of its `request`."""
    return json.dumps({"request": REQUEST | request, **(members or {})})


# What SQS takes: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
BODY = st.characters(min_codepoint=0x20, max_codepoint=0xD7FF)
ESSENTIAL = ("pk", "sk", "topic", "description", "created_at", "outbox_channels")
GARBLED = [
    "",
    "no json",
    "<html>proxy</html>",
    "[]",
    '["ok"]',
    "null",
    '"ok"',
    "5",
    "{}",
    '{"ok": true}',
    '{"ok": true, "ts": null, "messages": null}',
    '{"ok": true, "ts": 5, "messages": {}}',
    '{"ok": true, "ts": ["1.2"], "messages": 5}',
    '{"ok": "yes", "error": 5}',
    '{"ok": false}',
    '{"ok": false, "error": null}',
    '{"ok": false, "error": ["is_archived"]}',
    '{"ok": true, "channel": "C0ASSIST", "ts": "17',
]


def damaged(record: dict[str, Any], image: object, number: str) -> dict[str, Any]:
    return {**record, "dynamodb": {**record["dynamodb"], "NewImage": image, "SequenceNumber": number}}


@SAMPLED
@given(name=st.sampled_from(ESSENTIAL), value=st.none() | ATTRIBUTE)
@example("outbox_channels", {"L": [{"S": "slack"}]})
@example("outbox_channels", {"L": []})
@example("outbox_channels", {"L": [{"S": "pigeon"}]})
@example("outbox_channels", {"S": ""})
@example("topic", {"N": "5"})
@example("topic", {"S": ""})
@example("created_at", {"N": "1.2.3"})
@example("topic", {"B": "NQ=="})
@example("pk", {"S": "LEDGER"})
@example("sk", {"S": "slack"})
@example("sk", {"S": "DELIVERY#callback"})
@example("sk", {"S": "LEASE"})
@example("created_at", {"N": "NaN"})
@example("created_at", {"N": "no number"})
def test_any_stream_record_is_either_published_to_a_channel_or_reported_as_failed(
    stack: Cloud, name: str, value: dict[str, Any] | None
) -> None:
    request_id = stack.post("sales")
    [record] = stack.stream_records()
    image = dict(record["dynamodb"]["NewImage"])
    if value is None:
        del image[name]
    else:
        image[name] = value
    failed = stack.produce([damaged(record, image, "13"), record])
    assert failed in ([], ["13"])
    assert stack.status(request_id) == "published"
    published = 0
    for channel in Channel:
        while records := stack.receive(channel):
            published += len(records)
            for received in records:
                stack.sqs.delete_message(QueueUrl=stack.queues[channel], ReceiptHandle=received["receiptHandle"])
    # The producer publishes two records with the same image once.
    assert published == 1 + (failed == [] and image != record["dynamodb"]["NewImage"])


@SAMPLED
@given(
    body=st.text(BODY, min_size=1, max_size=50)
    | JSON.map(json.dumps)
    | st.fixed_dictionaries(
        {"request": st.fixed_dictionaries(dict.fromkeys(("id", "topic", "description", "created_at"), JSON))}
    ).map(json.dumps)
)
@example('{"request": {"id": "", "topic": "sales", "description": "x", "created_at": "2026-01-31T09:30:00.000Z"}}')
@example('{"request": {"id": "x", "topic": "sales", "description": "x", "created_at": "yesterday"}}')
@example(message(id="LEDGER"))
@example(message(id="LEASE#reconciler"))
@example(message(id="6F0C1D9E-0000-4000-8000-000000000001"))
@example(message(id="urn:uuid:6f0c1d9e-0000-4000-8000-000000000001"))
@example(message(id="6f0c1d9e00004000800000000000000a"))
@example(message(id="6f0c1d9e-0000-4000-8000-00000000000a\n"))
@example(message(topic="sales\r\nBcc: everybody@example.com"))
@example(message(topic="<!channel>"))
@example(message(created_at="2026-01-31T09:30:00"))
@example(message(created_at="2026-01-31<09:30:00+00:00"))
@example(message(created_at="2026-01-31T09:30:00.000Z "))
@example(message({"force": ""}))
@example(message({"force": "x" * 2_000}))
@example(message({"ended_at": "now"}))
@example(message({"ended_at": "2026-01-31T09:30:00.000Z", "ended": "slack#delivered#" + "x" * 2_000}))
@example(message({"ended": "slack#delivered"}))
@example(message({"ended_at": "2026-01-31T09:30:00.000Z", "ended": "slack#delivered"}))  # Wrong queue
@example("[" * 10_000)
@example('"\\ud800"')
def test_a_damaged_message_goes_to_the_dead_letter_queue_and_delays_no_other_message(
    stack: Cloud, slack: SlackServer, body: str
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    posted = len(slack.messages)
    failed = stack.consume(Channel.SLACK, [{**record, "messageId": "damaged", "body": body}, record])
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == posted + 1
    assert failed == []
    [letter] = stack.dead_letters(Channel.SLACK)
    assert (letter["Body"], letter["MessageAttributes"]["error_code"]["StringValue"]) == (body, "malformed_message")
    stack.sqs.delete_message(QueueUrl=stack.dlqs[Channel.SLACK], ReceiptHandle=letter["ReceiptHandle"])


@pytest.mark.parametrize("body", GARBLED)
def test_a_malformed_response_to_a_post_makes_the_next_attempt_search_slacks_history(
    stack: Cloud, slack: SlackServer, body: str
) -> None:
    slack.fail("garbled", body=body, times=1)
    ids = [stack.post("sales") for _ in range(2)]
    stack.produce()
    records = stack.receive(Channel.SLACK)
    assert len(stack.consume(Channel.SLACK, records)) == 2
    assert list(map(stack.status, ids)) == ["retrying", "retrying"]
    stack.consume_until_quiet(Channel.SLACK)
    assert list(map(stack.status, ids)) == ["delivered", "delivered"]
    assert len(slack.messages) == 1


@pytest.mark.parametrize(
    "body",
    [
        *GARBLED,
        '{"ok": true, "messages": [5, null, {"metadata": "x"}], "response_metadata": 5}',
        '{"ok": true, "messages": [], "response_metadata": ""}',
        '{"ok": true, "messages": [], "response_metadata": {"next_cursor": 5}}',
        '{"ok": true, "messages": ' + DEEP,
        '{"ok": true, "messages": [], "n": ' + LONG_NUMBER + "}",
        '{"ok": true, "messages": [], "response_metadata": ["next"]}',
    ],
)
def test_a_search_of_slacks_history_is_retried_after_a_malformed_response(
    stack: Cloud, slack: SlackServer, body: str
) -> None:
    slack.fail("drop", times=1)
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    slack.fail("garbled", body=body, times=1)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert stack.status(request_id) == "retrying"
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == 1


def test_the_callback_consumer_moves_a_message_without_a_status_to_the_dead_letter_queue(stack: Cloud) -> None:
    stack.sqs.send_message(QueueUrl=stack.queues[CALLBACK], MessageBody=message())
    assert stack.consume(CALLBACK) == []
    [letter] = stack.dead_letters(CALLBACK)
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "malformed_message"
    assert stack.table.scan()["Items"] == []
