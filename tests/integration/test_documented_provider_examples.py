"""Tests each function with the examples in its provider's documentation: unchanged, and with this system's ids."""

import json
import re
from typing import Any

import pytest

from assistance.routing import Channel
from email_feedback.events import MalformedEvent
from local.slack_server import SlackServer
from local.slack_workspace import SlackError
from tests.fixtures import FOLDER, documented
from tests.integration.cloud import Cloud
from tests.integration.steps import email_delivery, feedback, invoke_email_feedback, mailed
from tests.records import delivery_of, item_of

REQUEST_ID = "01a20f8b-23ac-7f05-98ff-08db86bebb44"


def test_every_fixture_file_names_the_document_that_it_was_copied_from() -> None:
    rows = [row.split("|") for row in (FOLDER / "README.md").read_text("utf-8").splitlines() if row.startswith("| `")]
    assert all("https://" in source or "not documented" in source for _, _, source, _ in rows)
    named = {name for _, files, *_ in rows for name in re.findall(r"`([\w/]+(?:\.json|/))`", files)}
    for path in FOLDER.rglob("*.json"):
        folder = f"{path.relative_to(FOLDER).parent}/"
        assert {str(path.relative_to(FOLDER)), folder, path.name} & named, path


def test_the_api_accepts_the_proxy_event_in_api_gateways_documentation(stack: Cloud) -> None:
    answer = stack.handler("api")(documented("api_gateway"), stack.context)
    assert (answer["statusCode"], json.loads(answer["body"])["type"]) == (404, "urn:assistance:problem:not-found")
    assert stack.status(stack.post("sales")) == "accepted"


def test_the_stream_producer_reports_documented_example_records_as_failed_and_publishes_a_request(stack: Cloud) -> None:
    event = documented("dynamodb_stream")
    assert stack.produce(event["Records"]) == ["111", "222"]
    request_id = stack.post("sales")
    [ours] = stack.stream_records()
    event["Records"][0]["dynamodb"]["NewImage"] = ours["dynamodb"]["NewImage"]
    assert stack.produce(event["Records"]) == ["222"]
    assert stack.status(request_id) == "published"


@pytest.mark.parametrize("topic", ["sales", "pricing"])
def test_the_consumers_dead_letter_documented_example_messages_and_deliver_a_request(stack: Cloud, topic: str) -> None:
    channel = {"sales": Channel.SLACK, "pricing": Channel.EMAIL}[topic]
    request_id = stack.post(topic)
    stack.produce()
    [ours] = stack.receive(channel)
    [foreign] = documented("sqs")["Records"]
    assert stack.consume(channel, [foreign | {"receiptHandle": ours["receiptHandle"]}, ours]) == []
    assert stack.status(request_id) == "delivered"
    [letter] = stack.dead_letters(channel)
    assert letter["Body"] == foreign["body"]
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "malformed_message"


def test_the_reconciler_accepts_the_event_in_eventbridge_schedulers_documentation(stack: Cloud) -> None:
    answer = stack.handler("reconciler")(documented("scheduler"), stack.context)
    assert answer["dry_run"] is False


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("bounce", "failed"),
        ("complaint", "failed"),
        ("reject", "failed"),
        ("delivery", "delivered"),
        ("delivery_delay", "delivered"),
        ("send", "delivered"),
        ("rendering_failure", "delivered"),
    ],
)
def test_each_documented_ses_event_sets_the_status_of_the_mails_delivery(stack: Cloud, name: str, status: str) -> None:
    request_id = mailed(stack)
    before = item_of(stack.table, request_id)
    feedback(stack, name, request_id)
    assert stack.status(request_id) == status
    assert ("confirmed_at" in email_delivery(stack, request_id)) == (name == "delivery")
    assert (item_of(stack.table, request_id) == before) == (name in {"delivery_delay", "send", "rendering_failure"})


@pytest.mark.parametrize("name", ["bounce", "complaint", "reject", "delivery"])
def test_an_ses_event_about_a_mail_that_this_stack_did_not_send_raises_an_error(stack: Cloud, name: str) -> None:
    with pytest.raises(MalformedEvent):
        invoke_email_feedback(stack, json.dumps(documented(f"ses/{name}")))


def test_a_notification_that_is_not_an_ses_event_raises_an_error(stack: Cloud) -> None:
    with pytest.raises(MalformedEvent):
        stack.handler("email_feedback")(documented("sns"), stack.context)


def received(stack: Cloud) -> tuple[str, dict[str, Any]]:
    """Create a request. Returns its id and its message in Slack's queue."""
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    return request_id, record


def answer(slack: SlackServer, example: dict[str, Any]) -> None:
    """Set Slack's response to the next call."""
    slack.fail("garbled", body=json.dumps(example), times=1)


def test_a_request_is_delivered_after_slacks_documented_success_response(stack: Cloud, slack: SlackServer) -> None:
    request_id, record = received(stack)
    answer(slack, documented("slack/post_message"))
    stack.consume(Channel.SLACK, [record])
    assert stack.status(request_id) == "delivered"
    [attempt] = delivery_of(stack.table, request_id, Channel.SLACK).attempts
    assert attempt.result == documented("slack/post_message")["ts"]


def test_a_request_fails_after_a_documented_permanent_error_of_slack(stack: Cloud, slack: SlackServer) -> None:
    request_id, record = received(stack)
    answer(slack, documented("slack/post_message_error"))
    assert stack.consume(Channel.SLACK, [record]) == []
    [delivery] = stack.show(request_id)["deliveries"]
    assert (delivery["status"], delivery["last_error"]) == ("failed", "too_many_attachments")


def test_a_request_is_postponed_after_slacks_documented_rate_limit_response(stack: Cloud, slack: SlackServer) -> None:
    request_id, record = received(stack)
    answer(slack, documented("slack/ratelimited"))
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    [delivery] = stack.show(request_id)["deliveries"]
    assert (delivery["status"], delivery["last_error"]) == ("retrying", "ratelimited")


@pytest.mark.parametrize("found", [True, False])
def test_slacks_documented_history_response_decides_whether_a_request_with_unknown_outcome_is_posted_again(
    stack: Cloud, slack: SlackServer, *, found: bool
) -> None:
    slack.fail("drop", times=1)
    request_id, record = received(stack)
    stack.consume(Channel.SLACK, [record])
    page = documented("slack/history") | {"has_more": False, "response_metadata": {"next_cursor": ""}}
    if found:
        [posted] = slack.messages
        page["messages"][1] |= {name: posted[name] for name in ("metadata", "bot_id")}
    answer(slack, page)
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == (1 if found else 2), "what is not in the history is posted"


def test_a_request_with_unknown_outcome_is_posted_again_if_slack_refuses_to_return_the_history(
    stack: Cloud, slack: SlackServer
) -> None:
    slack.fail("drop", times=1)
    request_id, record = received(stack)
    stack.consume(Channel.SLACK, [record])
    answer(slack, documented("slack/history_error"))
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == 2, "as the README says: without the history it posts again"


def test_the_local_slack_server_responds_in_slacks_documented_format(slack: SlackServer) -> None:
    def call(method: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        return slack.workspace.call(method, "xoxb-local", {"channel": "C0ASSIST", **arguments})

    post, history = documented("slack/post_message"), documented("slack/history")
    assert set(call("auth.test")) == set(documented("slack/auth_test"))
    assert set(call("chat.postMessage", text="one")) == set(post)
    call("chat.postMessage", text="two")
    page = call("conversations.history", limit=1)
    assert set(page) == set(history) - {"pin_count"}
    assert {key: type(value) for key, value in page.items()} == {key: type(history[key]) for key in page}
    assert set(page["response_metadata"]) == set(history["response_metadata"])
    with pytest.raises(SlackError, match="invalid_cursor"):
        call("conversations.history", cursor="dXNlcjpVMDYxTkZUVDI=")
