"""Tests sequences of events that once led to a wrong result, with different routes, settings and reconciler runs."""

from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest

from assistance.domain import transitions
from assistance.platform.clock import epoch_ms
from assistance.routing import CALLBACK, Channel
from assistance.store.requests import Requests
from email_feedback import handler as email_feedback
from local.slack_server import SlackServer
from slack_consumer.settings import Settings as SlackSettings
from tests.integration.cloud import Cloud
from tests.integration.steps import emails, feedback, mailed
from tests.receiver import Receiver
from tests.records import record_of, resend

SETTLED = timedelta(minutes=2)


def to_dead_letters(stack: Cloud) -> None:
    """Move the messages in Slack's queue to its dead-letter queue."""
    for record in stack.receive(Channel.SLACK):
        stack.sqs.send_message(QueueUrl=stack.dlqs[Channel.SLACK], MessageBody=record["body"])
        stack.sqs.delete_message(QueueUrl=stack.queues[Channel.SLACK], ReceiptHandle=record["receiptHandle"])


def test_the_reconciler_does_not_set_a_request_to_failed_whose_dead_letter_is_being_redriven(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    to_dead_letters(stack)
    change, claimed = Requests.change, list[str]()

    def overtaken(self: Requests, id_: str, event: Any, known: Any = None) -> Any:  # noqa: ANN401
        if not claimed:
            claimed.append(id_)
            now = epoch_ms(self.clock())
            claim = partial(transitions.claim, name="slack", attempt="redrive", now=now, until=now + 600_000, limit=3)
            change(self, id_, claim)
            return change(self, id_, event)
        return change(self, id_, event, known)

    with patch.object(Requests, "change", overtaken):
        stack.reconcile(later=SETTLED)
    assert claimed == [request_id]
    record = record_of(stack.table, request_id)
    assert (record.status, record.outbox, len(record.deliveries)) == ("sending", (), 1), "nothing falls back"


def test_a_bounce_is_recorded_before_its_dead_letter_can_be_redriven(stack: Cloud) -> None:
    request_id = mailed(stack)
    seen = list[str]()

    def look(**_: object) -> None:
        seen.append(record_of(stack.table, request_id).status)

    email_feedback.feedback().sqs.meta.events.register("before-send.sqs.SendMessage", look)
    feedback(stack, "bounce", request_id)
    assert seen == ["failed"]


def test_a_post_with_unknown_outcome_is_not_repeated_after_the_configured_slack_channel_changed(
    stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.workspace.channels |= {"C0NEW"}
    slack.fail("drop", times=1)
    request_id = stack.post("sales")
    stack.produce()
    stack.consume(Channel.SLACK)
    monkeypatch.setenv("SLACK_CHANNEL", "C0NEW")
    SlackSettings.read.cache_clear()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == 1


def test_the_search_for_a_post_reads_the_other_slack_channels_although_the_bot_has_left_one(
    stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts are in doubt. The first, in the old channel, posted nothing; the second posted in the new one."""
    slack.workspace.channels |= {"C0NEW"}
    slack.fail("status", status=503, times=1)
    request_id = stack.post("sales")
    stack.produce()
    stack.consume(Channel.SLACK)
    monkeypatch.setenv("SLACK_CHANNEL", "C0NEW")
    SlackSettings.read.cache_clear()
    slack.fail("drop", method="chat.postMessage", times=1)
    stack.consume(Channel.SLACK)
    slack.workspace.channels -= {"C0ASSIST"}
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == 1


@pytest.mark.parametrize("code", ["ekm_access_denied", "accesslimited", "invalid_arguments"])
def test_nothing_is_posted_if_slack_refuses_to_return_the_history_for_an_unknown_reason(
    stack: Cloud, slack: SlackServer, code: str
) -> None:
    slack.fail("drop", times=1)
    stack.post("sales")
    stack.produce()
    stack.consume(Channel.SLACK)
    slack.fail("error", error=code, times=1)
    stack.consume(Channel.SLACK)
    assert len(slack.messages) == 1


def test_a_fallback_is_published_again_although_a_resend_on_its_channel_failed_before(
    stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.fail("status", status=503)
    with Receiver() as bot:
        request_id = stack.post("sales", callback_url=bot.url)
        stack.produce()
        stack.consume(Channel.SLACK)
        with patch("email_consumer.handler.compose", side_effect=RuntimeError("down")):
            resend(stack.table, request_id, Channel.EMAIL)
            stack.produce()
            stack.consume_until_quiet(Channel.EMAIL)
        stack.consume_until_quiet(Channel.SLACK)
        stack.produce()
        assert stack.receive(Channel.EMAIL), "the fallback's message, which is lost"
        stack.sqs.purge_queue(QueueUrl=stack.queues[Channel.EMAIL])
        lost = stack.reconcile(later=timedelta(hours=1))["ledger"]["lost"]
        stack.produce()
        stack.consume_until_quiet(Channel.EMAIL)
        stack.produce()
        stack.consume_until_quiet(CALLBACK)
        assert lost == [request_id]
        assert stack.status(request_id) == "delivered"
        assert [call.headers["webhook-id"].split("_")[1] for call in bot.calls] == ["delivered"]
    assert len(emails()) == 1


def test_a_status_does_not_depend_on_the_current_retention_setting(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = stack.post("sales")
    monkeypatch.setenv("RETENTION_DAYS", "1")
    stack.produce()
    stack.consume(Channel.SLACK)
    [request], [record] = (
        [item for item in stack.table.scan()["Items"] if item["sk"] == kind] for kind in ("REQUEST", "RECORD")
    )
    assert request["ttl"] == record["ttl"] == record_of(stack.table, request_id).ttl, "they expire together"


def test_a_request_whose_delivery_record_is_missing_reaches_a_final_status_after_a_repeated_call(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales", Idempotency_Key="key")
    stack.produce()
    stack.consume(Channel.SLACK)
    stack.table.delete_item(Key={"pk": request_id, "sk": "RECORD"})
    assert stack.post("sales", Idempotency_Key="key") == request_id
    for sweep in (1, 2):
        stack.reconcile(later=sweep * timedelta(hours=1))
        stack.produce()
        stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) in {"delivered", "failed"}
