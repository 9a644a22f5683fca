"""Tests the whole system in moto, from a bot's call to the messages in Slack and in the mailbox."""

import json
import os
from contextlib import suppress
from datetime import timedelta
from threading import Barrier, BrokenBarrierError
from unittest.mock import patch

import pytest

from assistance.platform import aws
from assistance.routing import ROUTES, Channel, Topic
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, forget
from tests.integration.steps import arrived, emails, fail_on_slack, published
from tests.records import put_delivery, resend, under_way

OVERDUE = timedelta(seconds=61)
pytestmark = pytest.mark.moto


def test_a_request_of_each_topic_is_delivered_on_the_channels_of_the_topic(stack: Cloud, slack: SlackServer) -> None:
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


def test_a_message_reaches_only_the_queue_of_its_channel(stack: Cloud) -> None:
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


def test_the_stream_producer_makes_each_aws_client_once_although_its_first_batch_has_several_threads(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make, another_thread = list[str](), aws.sns, Barrier(2, timeout=0.2)

    def slowly() -> aws.SNSClient:
        made.append("sns")
        with suppress(BrokenBarrierError):
            another_thread.wait()
        return make()

    for topic in Topic:
        stack.post(topic)
    forget()
    monkeypatch.setattr(aws, "sns", slowly)
    assert stack.produce() == []
    assert len(made) == 1


def test_only_the_unpublishable_stream_record_of_a_batch_is_reported_as_failed(
    stack: Cloud, slack: SlackServer
) -> None:
    ids = [stack.post("sales", f"number {number}") for number in range(3)]
    stack.produce()
    records = stack.receive(Channel.SLACK)
    stack.consume(Channel.SLACK, [{**records[0], "messageId": "bad", "body": "no json"}, *records])
    assert [stack.status(request_id) for request_id in ids] == ["delivered"] * 3
    assert [letter["Body"] for letter in stack.dead_letters(Channel.SLACK)] == ["no json"]


def test_a_damaged_stream_record_is_reported_as_failed_and_delays_no_other_record(stack: Cloud) -> None:
    request_id = stack.post("sales")
    records = stack.stream_records()
    damaged = {
        **records[0],
        "dynamodb": {**records[0]["dynamodb"], "SequenceNumber": "13", "NewImage": {"pk": {"S": "x"}}},
    }
    assert stack.produce([damaged, *records]) == ["13"]
    assert stack.status(request_id) == "published"


def test_the_reconciler_publishes_a_request_that_the_stream_producer_did_not_publish(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales", "unseen")
    assert published(stack.reconcile()) == 0, "within the grace period it is the stream's"
    assert published(stack.reconcile(later=OVERDUE)) == 1
    assert published(stack.reconcile(later=OVERDUE)) == 0
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "unseen") == 1


def test_the_reconciler_publishes_the_oldest_requests_first_and_leaves_the_rest_to_its_next_run(stack: Cloud) -> None:
    ids = [stack.post("sales") for _ in range(3)]
    stack.context.remaining_ms = 1_000
    assert published(stack.reconcile(later=OVERDUE)) == 0
    stack.context.remaining_ms = 30_000
    assert published(stack.reconcile(later=OVERDUE)) == 3
    received = [json.loads(record["body"])["request"]["id"] for record in stack.receive(Channel.SLACK)]
    assert received == ids


def test_a_dry_run_of_the_reconciler_reports_the_state_of_every_request_and_changes_nothing(stack: Cloud) -> None:
    unpublished, queued = stack.post("pricing"), stack.post("sales")
    stack.produce(stack.stream_records()[1:])
    before = stack.table.scan()["Items"]
    answer = stack.reconcile(later=OVERDUE, dry_run=True)
    assert answer["outbox"]["published"] == 1
    assert answer["ledger"]["places"] == {"pricing/email/unpublished": 1, "sales/slack/queued": 1}
    assert stack.table.scan()["Items"] == before
    assert [stack.status(request_id) for request_id in (unpublished, queued)] == ["accepted", "published"]


def test_a_message_goes_to_the_dead_letter_queue_and_its_request_has_status_failed_after_a_slack_outage(
    stack: Cloud, slack: SlackServer
) -> None:
    slack.fail("status", status=503)
    request_id = stack.post("sales", "outage")
    stack.produce()
    stack.consume(Channel.SLACK)
    shown = stack.show(request_id)
    assert shown["status"] == "retrying"
    assert shown["deliveries"][0]["next_attempt_at"]
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "failed"
    [letter] = stack.dead_letters(Channel.SLACK)
    assert json.loads(letter["Body"])["request"]["id"] == request_id
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "http_503"


def test_the_fallback_delivers_a_failed_request_and_its_message_says_why(stack: Cloud, slack: SlackServer) -> None:
    request_id = fail_on_slack(stack, slack, "fall back")
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    shown = stack.show(request_id)
    assert shown["status"] == "delivered"
    assert {d["channel"]: d["status"] for d in shown["deliveries"]} == {"slack": "failed", "email": "delivered"}
    [mail] = emails()
    assert "fall back" in mail
    assert "Sent here because the Slack message could not be posted (http_503)" in mail


def test_a_redrive_does_not_send_a_request_that_the_fallback_has_delivered(stack: Cloud, slack: SlackServer) -> None:
    request_id = fail_on_slack(stack, slack, "fall back")
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    before = stack.show(request_id)
    stack.redrive(Channel.SLACK)
    stack.consume_until_quiet(Channel.SLACK)
    assert not stack.dead_letters(Channel.SLACK)
    assert not slack.messages
    assert stack.show(request_id) == before, "and the redrive left no trace"


def test_a_redriven_message_waits_until_the_fallback_has_delivered_or_failed(stack: Cloud, slack: SlackServer) -> None:
    request_id = fail_on_slack(stack, slack, "fall back")
    stack.redrive(Channel.SLACK)
    [record] = stack.receive(Channel.SLACK)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert not slack.messages
    assert stack.status(request_id) == "failed"


def test_a_failed_fallback_delivery_has_no_further_fallback_and_can_be_redriven(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = fail_on_slack(stack, slack, "both down")
    [entry] = stack.stream_records()
    with patch.dict(os.environ, {"EMAIL_SENDER": "nobody@example.com"}):
        stack.produce([entry])
        forget()
        stack.consume_until_quiet(Channel.EMAIL)
    assert stack.status(request_id) == "failed"
    assert stack.stream_records() == [], "nothing re-enters the outbox"
    assert len(stack.dead_letters(Channel.EMAIL)) == 1
    forget()
    stack.redrive(Channel.SLACK)
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "both down") == 1


def test_a_redrive_after_an_attempt_with_unknown_outcome_searches_slacks_history_before_it_posts(
    stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRY_ATTEMPTS", "1")
    monkeypatch.setenv("ROUTES", json.dumps({"sales": {"channels": ["slack"], "fallback": None}}))
    forget()
    slack.fail("drop", times=1)
    request_id = stack.post("sales", "dropped")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "failed"
    stack.redrive(Channel.SLACK)
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "dropped") == 1


def test_a_status_call_lists_each_attempt_with_its_outcome(stack: Cloud, slack: SlackServer) -> None:
    slack.fail("drop", times=1)
    request_id = stack.post("sales")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    [delivery] = stack.show(request_id)["deliveries"]
    outcomes = [(a["outcome"], a.get("error"), a.get("in_doubt", False)) for a in delivery["timeline"]]
    assert outcomes == [("retrying", "connection_error", True), ("delivered", None, False)]


def test_a_resend_sends_one_message_and_is_listed_as_a_separate_delivery(stack: Cloud, slack: SlackServer) -> None:
    request_id = stack.post("sales", "once more")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    resend(stack.table, request_id, Channel.SLACK)
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    for _ in range(2):
        stack.consume(Channel.SLACK, [record])
    assert arrived(slack, "once more") == 2
    first, second = stack.show(request_id)["deliveries"]
    assert (first["status"], second["status"]) == ("delivered", "delivered")
    assert "resend" not in first
    assert second["resend"]


def test_the_original_delivery_keeps_the_status_delivered_after_a_resend_failed(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    slack.fail("error", error="is_archived")
    resend(stack.table, request_id, Channel.SLACK)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert len(stack.dead_letters(Channel.SLACK)) == 1
    assert stack.stream_records() == [], "and no fallback is used"


def test_a_permanent_failure_is_not_retried(stack: Cloud, slack: SlackServer) -> None:
    slack.fail("error", error="is_archived")
    request_id = stack.post("sales")
    stack.produce()
    assert stack.consume(Channel.SLACK) == []
    shown = stack.call("GET", f"/assistance-requests/{request_id}")["json"]
    assert (shown["status"], shown["deliveries"][0]["attempts"]) == ("failed", 1)
    assert shown["deliveries"][0]["last_error"] == "is_archived"


def test_a_slack_rate_limit_does_not_count_as_an_attempt(stack: Cloud, slack: SlackServer) -> None:
    slack.fail("rate_limited", retry_after=0, times=20)
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    for _ in range(20):
        assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"


def test_a_post_that_slack_accepted_before_the_connection_broke_is_not_repeated(
    stack: Cloud, slack: SlackServer
) -> None:
    slack.fail("drop", times=1)
    request_id = stack.post("sales", "dropped")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "dropped") == 1


def test_a_request_whose_consumer_was_killed_on_the_last_attempt_is_failed_and_has_a_dead_letter(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    put_delivery(stack.table, request_id, Channel.SLACK, attempts=under_way(number=3))
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "failed"
    assert len(stack.dead_letters(Channel.SLACK)) == 1
    assert not slack.messages


def test_a_duplicate_message_waits_while_another_attempt_holds_the_lock_of_the_delivery(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    put_delivery(stack.table, request_id, Channel.SLACK, attempts=under_way(), locked_until=9_999_999_999_999)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert not slack.messages
    assert not stack.dead_letters(Channel.SLACK)


def test_a_delivery_waits_until_the_secret_of_its_channel_has_a_value(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_TOKEN_SECRET", "not-there")
    request_id = stack.post("sales")
    stack.produce()
    stack.consume(Channel.SLACK)
    assert stack.status(request_id) == "retrying"
