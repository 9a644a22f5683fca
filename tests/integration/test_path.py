"""The whole path: from the bot's call to Slack and the inbox."""

import json
from datetime import timedelta

import pytest
from moto.sesv2.models import sesv2_backends

from assistance.requests import Requests, delivery_key, request_key
from assistance.routing import ROUTES, Channel, Topic
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud

OVERDUE = timedelta(seconds=61)


def emails() -> list[str]:
    """The text of every mail that SES took."""
    sent = sesv2_backends["123456789012"]["us-east-1"].core_backend.sent_messages
    return [message.body for message in sent]


def arrived(slack: SlackServer, description: str) -> int:
    return sum(description in json.dumps(message) for message in [*slack.messages, *emails()])


def test_every_topic_arrives_on_its_channels_and_ends_delivered(stack: Cloud, slack: SlackServer) -> None:
    for topic in Topic:
        request_id = stack.post(topic, f"about {topic}")
        assert stack.status(request_id) == "accepted"
        assert stack.produce() == []
        assert stack.status(request_id) == "published"
        for channel in Channel:
            stack.consume_until_quiet(channel)
        shown = stack.call("GET", f"/assistance-requests/{request_id}")["json"]
        assert shown["status"] == "delivered"
        assert {delivery["channel"] for delivery in shown["deliveries"]} == set(ROUTES[topic].channels)
        assert arrived(slack, f"about {topic}") == 1


def test_a_message_reaches_no_other_channels_queue(stack: Cloud) -> None:
    stack.post("sales")
    stack.produce()
    assert stack.receive(Channel.SLACK)
    assert not stack.receive(Channel.EMAIL)


def test_a_republished_request_is_posted_once(stack: Cloud, slack: SlackServer) -> None:
    stack.post("sales", "once")
    records = stack.stream_records()
    stack.produce(records)
    stack.consume_until_quiet(Channel.SLACK)
    stack.produce(records)
    stack.consume_until_quiet(Channel.SLACK)
    assert arrived(slack, "once") == 1


def test_one_bad_record_in_a_batch_fails_alone(stack: Cloud, slack: SlackServer) -> None:
    ids = [stack.post("sales", f"number {number}") for number in range(3)]
    stack.produce()
    records = stack.receive(Channel.SLACK)
    stack.consume(Channel.SLACK, [{**records[0], "messageId": "bad", "body": "no json"}, *records])
    assert [stack.status(request_id) for request_id in ids] == ["delivered"] * 3
    assert [letter["Body"] for letter in stack.dead_letters(Channel.SLACK)] == ["no json"]


def test_one_damaged_stream_record_is_reported_and_delays_no_other(stack: Cloud) -> None:
    request_id = stack.post("sales")
    records = stack.stream_records()
    damaged = {
        **records[0],
        "dynamodb": {**records[0]["dynamodb"], "SequenceNumber": "13", "NewImage": {"pk": {"S": "x"}}},
    }
    assert stack.produce([damaged, *records]) == ["13"]
    assert stack.status(request_id) == "published"


def test_what_the_producer_never_saw_the_reconciler_publishes(stack: Cloud, slack: SlackServer) -> None:
    request_id = stack.post("sales", "unseen")
    assert stack.reconcile() == 0, "within the grace period it is the stream's"
    assert stack.reconcile(later=OVERDUE) == 1
    assert stack.reconcile(later=OVERDUE) == 0
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "unseen") == 1


def test_a_sweep_goes_oldest_first_and_leaves_to_the_next_what_it_has_no_time_for(stack: Cloud) -> None:
    ids = [stack.post("sales") for _ in range(3)]
    stack.context.remaining_ms = 1_000
    assert stack.reconcile(later=OVERDUE) == 0
    stack.context.remaining_ms = 30_000
    assert stack.reconcile(later=OVERDUE) == 3
    received = [json.loads(record["body"])["request"]["id"] for record in stack.receive(Channel.SLACK)]
    assert received == ids


def test_two_sweeps_never_run_at_once(stack: Cloud) -> None:
    stack.post("sales")
    requests = Requests(stack.table)
    with requests.lease("another sweep", timedelta(seconds=50)) as ours:
        assert ours
        assert stack.reconcile(later=OVERDUE) == 0
    assert stack.reconcile(later=OVERDUE) == 1


def test_a_request_that_re_enters_the_outbox_is_published_to_its_new_channels(stack: Cloud, slack: SlackServer) -> None:
    request_id = stack.post("sales", "second way")
    stale = stack.stream_records()
    stack.table.update_item(
        Key=request_key(request_id),
        UpdateExpression="SET outbox = :shard, outbox_channels = :channels",
        ExpressionAttributeValues={":shard": 0, ":channels": ["email"]},
    )
    stack.produce(stale)
    assert stack.produce() == [], "publishing the first entry late has not removed the second"
    stack.consume_until_quiet(Channel.EMAIL)
    assert stack.status(request_id) == "delivered"


def test_a_slack_outage_ends_in_the_dlq_and_the_request_reads_failed_until_it_is_redriven(
    stack: Cloud, slack: SlackServer
) -> None:
    slack.fail("status", status=503)
    request_id = stack.post("sales", "outage")
    stack.produce()
    stack.consume(Channel.SLACK)
    assert stack.status(request_id) == "retrying"
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "failed"
    [letter] = stack.dead_letters(Channel.SLACK)
    assert json.loads(letter["Body"])["request"]["id"] == request_id
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "http_503"

    slack.fail("none")
    stack.redrive(Channel.SLACK)
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "outage") == 1


def test_a_permanent_failure_is_not_retried(stack: Cloud, slack: SlackServer) -> None:
    slack.fail("error", error="is_archived")
    request_id = stack.post("sales")
    stack.produce()
    assert stack.consume(Channel.SLACK) == []
    shown = stack.call("GET", f"/assistance-requests/{request_id}")["json"]
    assert (shown["status"], shown["deliveries"][0]["attempts"]) == ("failed", 1)
    assert shown["deliveries"][0]["last_error"] == "is_archived"


def test_a_rate_limit_costs_no_attempts(stack: Cloud, slack: SlackServer) -> None:
    slack.fail("rate_limited", retry_after=0, times=20)
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    for _ in range(20):
        assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"


def test_what_slack_took_before_the_connection_broke_is_not_posted_again(stack: Cloud, slack: SlackServer) -> None:
    slack.fail("drop", times=1)
    request_id = stack.post("sales", "dropped")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "dropped") == 1


def test_a_consumer_killed_on_its_last_attempt_leaves_a_dead_letter_and_a_failed_request(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    stack.table.put_item(
        Item={
            **delivery_key(request_id, Channel.SLACK),
            "status": "sending",
            "attempts": 3,
            "claim_expires_at": 0,
        }
    )
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "failed"
    assert len(stack.dead_letters(Channel.SLACK)) == 1
    assert not slack.messages


def test_a_duplicate_that_meets_a_live_claim_waits(stack: Cloud, slack: SlackServer) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    live = {"status": "sending", "attempts": 1, "claim_expires_at": 9_999_999_999_999}
    stack.table.put_item(Item={**delivery_key(request_id, Channel.SLACK), **live})
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert not slack.messages
    assert not stack.dead_letters(Channel.SLACK)


def test_a_secret_without_a_value_is_waited_for(stack: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_TOKEN_SECRET", "not-there")
    request_id = stack.post("sales")
    stack.produce()
    stack.consume(Channel.SLACK)
    assert stack.status(request_id) == "retrying"
