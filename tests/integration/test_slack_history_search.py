"""Tests the search of Slack's history for an earlier post: only posts of the same Slack app count."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assistance.routing import Channel
from assistance.slack.message import payloads
from local.slack_server import SlackServer
from local.slack_workspace import OURS, Bot, SlackError
from tests.fixtures import documented
from tests.fuzz_settings import FUZZED, JSON
from tests.integration.cloud import Cloud, forget
from tests.integration.steps import arrived

OTHER = Bot("U0OTHER", "B0OTHER", "A0OTHER")
TOKEN = "xoxb-local"


@pytest.fixture
def called_methods(slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Slack methods that were called, in order."""
    methods, answer = list[str](), slack.workspace.call

    def call(method: str, token: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
        methods.append(method)
        return answer(method, token, arguments)

    monkeypatch.setattr(slack.workspace, "call", call)
    return methods


def in_doubt(stack: Cloud, slack: SlackServer, description: str, *, posted: bool) -> tuple[str, dict[str, Any]]:
    """A request whose first attempt is in doubt, and its queue message. `posted`: whether Slack has posted it."""
    slack.fail("drop" if posted else "status", times=1)
    request_id = stack.post("sales", description)
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert arrived(slack, description) == posted
    return request_id, record


def post_as(slack: SlackServer, bot: Bot, event_type: str, payload: Mapping[str, Any]) -> None:
    """Post a message with this metadata as another app in the Slack channel."""
    slack.workspace.install(f"xoxb-{bot.bot_id}", bot)
    arguments = {"channel": "C0ASSIST", "text": "-", "metadata": {"event_type": event_type, "event_payload": payload}}
    slack.workspace.call("chat.postMessage", f"xoxb-{bot.bot_id}", arguments)


def store(token: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="slack-token", SecretString=token)


def replace_token(slack: SlackServer, token: str, app: Bot) -> None:
    """Store a new token, which belongs to `app`, and revoke the former one."""
    slack.workspace.install(token, app)
    slack.workspace.revoke(TOKEN)
    store(token)


def last_error(stack: Cloud, request_id: str) -> str:
    return str(stack.show(request_id)["deliveries"][0].get("last_error"))


@pytest.mark.parametrize("event_type", ["assistance_request", "assistance_requests"])
def test_the_search_of_slacks_history_ignores_messages_of_other_slack_apps(
    stack: Cloud, slack: SlackServer, event_type: str
) -> None:
    request_id, record = in_doubt(stack, slack, "not yet posted", posted=False)
    told = {"request_id": request_id}
    post_as(slack, OTHER, event_type, told if event_type == "assistance_request" else {"requests": [told]})
    assert stack.consume(Channel.SLACK, [record]) == []
    assert arrived(slack, "not yet posted") == 1


@pytest.mark.parametrize(
    ("event_type", "several"),
    [("assistance_request", True), ("assistance_requests", False), ("assistance_taken", False), ("", False)],
)
def test_the_search_of_slacks_history_ignores_the_apps_messages_with_another_event_type(
    stack: Cloud, slack: SlackServer, event_type: str, *, several: bool
) -> None:
    request_id, record = in_doubt(stack, slack, "not yet posted", posted=False)
    told = {"request_id": request_id}
    post_as(slack, OURS, event_type, {"requests": [told]} if several else told)
    assert stack.consume(Channel.SLACK, [record]) == []
    assert arrived(slack, "not yet posted") == 1


def test_the_search_of_slacks_history_finds_the_post_of_a_request_among_any_other_messages(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    post_as(slack, OTHER, "assistance_request", {"request_id": request_id})
    assert stack.consume(Channel.SLACK, [record]) == []
    assert arrived(slack, "posted") == 1


def test_the_search_asks_slack_for_the_apps_identity_once_and_only_if_a_message_names_the_request(
    stack: Cloud, slack: SlackServer, called_methods: list[str]
) -> None:
    _, record = in_doubt(stack, slack, "not yet posted", posted=False)
    stack.consume(Channel.SLACK, [record])
    assert called_methods == ["conversations.history", "chat.postMessage"]
    for description in ("first", "second"):
        _, record = in_doubt(stack, slack, description, posted=True)
        stack.consume(Channel.SLACK, [record])
    assert called_methods.count("auth.test") == 1


@pytest.mark.parametrize(
    ("fault", "error", "attempts"),
    [
        ({"kind": "rate_limited", "retry_after": 0}, "ratelimited", 1),
        ({"kind": "error", "error": "internal_error"}, "internal_error", 2),
        ({"kind": "status", "status": 503}, "http_503", 2),
        ({"kind": "garbled", "body": "[]"}, "http_200", 2),
        ({"kind": "garbled", "body": '{"ok": true}'}, "unexpected_answer", 2),
        ({"kind": "garbled", "body": '{"ok": true, "bot_id": "", "user_id": null}'}, "unexpected_answer", 2),
        ({"kind": "garbled", "body": '{"ok": true, "bot_id": ["B0LOCAL"], "user_id": 5}'}, "unexpected_answer", 2),
    ],
)
def test_nothing_is_posted_while_slack_does_not_return_the_apps_identity(
    stack: Cloud, slack: SlackServer, fault: dict[str, Any], error: str, attempts: int
) -> None:
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    slack.fail(**fault, method="auth.test", times=1)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    [delivery] = stack.show(request_id)["deliveries"]
    assert (delivery["status"], delivery["last_error"], delivery["attempts"]) == ("retrying", error, attempts)
    assert not delivery["timeline"][1:] or not delivery["timeline"][1].get("in_doubt"), "the look-up posts nothing"
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "posted") == 1


def test_a_delivery_fails_if_slack_refuses_to_return_the_apps_identity(stack: Cloud, slack: SlackServer) -> None:
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    slack.fail("error", error="invalid_auth", method="auth.test")
    assert stack.consume(Channel.SLACK, [record]) == []
    assert last_error(stack, request_id) == "invalid_auth"
    [letter] = stack.dead_letters(Channel.SLACK)
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "invalid_auth"
    assert arrived(slack, "posted") == 1


def warm(stack: Cloud, slack: SlackServer) -> None:
    """Make the consumer search Slack's history once, so that it knows the app's identity."""
    _, record = in_doubt(stack, slack, "warming up", posted=True)
    assert stack.consume(Channel.SLACK, [record]) == []


def test_a_search_with_a_new_token_of_the_same_slack_app_finds_posts_made_with_the_old_token(
    stack: Cloud, slack: SlackServer
) -> None:
    warm(stack, slack)
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    replace_token(slack, "xoxb-new", OURS)
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "posted") == 1


def test_a_search_with_the_token_of_another_slack_app_finds_the_posts_of_that_app(
    stack: Cloud, slack: SlackServer
) -> None:
    warm(stack, slack)
    replace_token(slack, "xoxb-other", OTHER)
    # The consumer uses the cached old token, and reads the new one after Slack has refused the old one.
    slack.fail("drop", holding="by the new app", method="chat.postMessage", times=2)
    request_id = stack.post("sales", "by the new app")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "by the new app") == 1


def test_a_request_posted_by_a_former_slack_app_is_posted_again_after_the_app_was_replaced(
    stack: Cloud, slack: SlackServer
) -> None:
    """Nothing distinguishes a former app of this project from another app: docs/decisions/0069-own-messages.md."""
    warm(stack, slack)
    _, record = in_doubt(stack, slack, "posted", posted=True)
    replace_token(slack, "xoxb-other", OTHER)
    forget()
    assert stack.consume(Channel.SLACK, [record]) == []
    assert [message["bot_id"] for message in slack.messages[-2:]] == [OURS.bot_id, OTHER.bot_id]


def test_a_search_with_a_slack_user_token_finds_the_posts_made_with_that_token(
    stack: Cloud, slack: SlackServer
) -> None:
    """For a user token Slack returns no `bot_id`: https://docs.slack.dev/reference/methods/auth.test."""
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    who = documented("slack/auth_test") | {"user_id": OURS.user_id}
    del who["bot_id"]
    slack.fail("garbled", body=json.dumps(who), method="auth.test", times=1)
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "posted") == 1


@pytest.mark.parametrize(
    "metadata",
    [
        None, "", "junk", 5, True, [], ["assistance_request"], {},
        {"event_type": None}, {"event_type": ["assistance_request"]}, {"event_type": {}},
        {"event_type": "assistance_request"}, {"event_type": "assistance_request", "event_payload": None},
        {"event_type": "assistance_request", "event_payload": [[]]},
        {"event_type": "assistance_request", "event_payload": {"request_id": {"request_id": []}}},
        {"event_type": "assistance_requests", "event_payload": {"requests": "all"}},
        {"event_type": "assistance_requests", "event_payload": {"requests": [None, 5, [], {"request_id": {}}]}},
    ],
)  # fmt: skip
def test_the_search_of_slacks_history_ignores_malformed_message_metadata(
    stack: Cloud, slack: SlackServer, metadata: object
) -> None:
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    junk = {"type": "message", "channel": "C0ASSIST", "ts": "9999999999.000001", "bot_id": OURS.bot_id}
    slack.messages.append({**junk, "metadata": metadata})
    slack.messages.append({"channel": "C0ASSIST", "ts": "9999999999.000002"})
    slack.messages.append({**junk, "bot_id": ["B0LOCAL"], "user": {}, "metadata": slack.messages[0]["metadata"]})
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "posted") == 1


@pytest.mark.parametrize("ts", [None, 5, "", ["1.2"], {}])
def test_a_history_page_that_contains_the_post_without_its_ts_is_an_unexpected_response(
    stack: Cloud, slack: SlackServer, ts: object
) -> None:
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    [message] = slack.messages
    page = {"ok": True, "messages": [{**message, "ts": ts}]}
    slack.fail("garbled", body=json.dumps(page), method="conversations.history", times=1)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert last_error(stack, request_id) == "unexpected_answer"
    assert stack.consume(Channel.SLACK, [record]) == []
    assert arrived(slack, "posted") == 1


@pytest.mark.parametrize("rest", [{}, {"response_metadata": None}, {"response_metadata": {"next_cursor": ""}}])
def test_a_history_page_that_has_more_messages_but_no_cursor_is_an_unexpected_response(
    stack: Cloud, slack: SlackServer, rest: dict[str, Any]
) -> None:
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    page = {"ok": True, "messages": [], "has_more": True, **rest}
    slack.fail("garbled", body=json.dumps(page), method="conversations.history", times=1)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert last_error(stack, request_id) == "unexpected_answer"
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "posted") == 1


@pytest.mark.parametrize("error", ["missing_scope", "not_in_channel", "channel_not_found", "not_allowed_token_type"])
def test_the_search_uses_a_new_token_if_the_cached_one_may_not_read_the_history(
    stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    request_id, record = in_doubt(stack, slack, "posted", posted=True)
    slack.workspace.install("xoxb-new", OURS)
    store("xoxb-new")
    answer = slack.workspace.call

    def call(method: str, token: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
        if method == "conversations.history" and token == TOKEN:
            raise SlackError(error)
        return answer(method, token, arguments)

    monkeypatch.setattr(slack.workspace, "call", call)
    assert stack.consume(Channel.SLACK, [record]) == []
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "posted") == 1


@FUZZED
@given(message=st.dictionaries(st.sampled_from(["metadata", "ts", "bot_id"]), JSON))
@example({"metadata": {"event_type": "assistance_request", "event_payload": {"request_id": "1"}}})
@example({"metadata": {"event_type": "assistance_requests", "event_payload": {"requests": [{}]}}})
def test_extracting_request_ids_from_any_slack_message_raises_no_error(message: dict[str, Any]) -> None:
    assert isinstance(payloads(message), list)
