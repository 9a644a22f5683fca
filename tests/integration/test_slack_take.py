"""Tests the take button in Slack: the first person takes the request, everybody sees who, and forged clicks fail."""

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import boto3
import pytest

from assistance.domain.record import MAX_TAKES
from assistance.routing import Channel, routes
from cli import takes as operators
from local.slack_server import SlackServer, signed
from local.slack_workspace import OURS, Bot, Json, buttons
from slack_interactions import handler, response_url
from tests.integration.cloud import RETENTION, Cloud, forget, http_event
from tests.integration.resources import create_secret
from tests.records import record_of, requests, resend

PATH = "/slack/interactions"


@pytest.fixture
def team(stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> SlackServer:
    """The local Slack, with a take button on each message. A click calls the function `slack_interactions`."""
    monkeypatch.setenv("TAKE", "true")
    monkeypatch.setenv("SLACK_APP_ID", OURS.app_id)
    monkeypatch.setenv("RESPONSE_ORIGIN", slack.origin)
    monkeypatch.setenv("SLACK_SIGNING_SECRET", create_secret("slack-signing", slack.signing_secret))
    forget()
    slack.call_app = partial(call_slack_endpoint, stack)
    return slack


def call_slack_endpoint(stack: Cloud, body: str, headers: dict[str, str]) -> int:
    event = http_event("POST", PATH, body, **{name.replace("-", "_"): value for name, value in headers.items()})
    return int(stack.handler("slack_interactions")(event, stack.context)["statusCode"])


def posted(stack: Cloud, *descriptions: str, callback_url: str | None = None) -> list[str]:
    """Create a request for each description, and post them in one Slack message. Returns their ids."""
    ids = [stack.post("sales", description, callback_url) for description in descriptions]
    stack.produce()
    stack.consume(Channel.SLACK, stack.receive(Channel.SLACK, 25))
    return ids


def actions(message: Json) -> list[str]:
    return [button["action_id"] for button in buttons(message)]


def press(team: SlackServer, user: str, request_id: str | None = None) -> int:
    """Click the request's button, or the first button, in the newest message. Returns the function's HTTP status."""
    message = team.messages[-1]
    values = [button["value"] for button in buttons(message) if request_id is None or request_id in button["value"]]
    return team.press(message["ts"], user, values[0])


def test_the_first_person_who_clicks_takes_the_request_and_the_slack_message_names_that_person(
    stack: Cloud, team: SlackServer
) -> None:
    [request_id] = posted(stack, "help")
    assert actions(team.messages[-1]) == ["take"]
    assert press(team, "anna") == 200
    taken = stack.show(request_id)["taken"]
    assert (taken["by"], taken["via"]) == ("@anna", "slack")
    assert "Taken by @anna" in json.dumps(team.messages[-1])
    assert actions(team.messages[-1]) == ["release"]
    assert team.workspace.ephemeral_messages == []


@pytest.mark.moto
def test_a_button_click_makes_one_query_one_write_and_two_batch_reads(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second batch read finds out whether another person has clicked meanwhile: docs/cost.md."""
    [request_id] = posted(stack, "help")
    calls: list[str] = []
    client = handler.requests().items.table.meta.client
    client.meta.events.register("before-call.dynamodb", lambda model, **_: calls.append(model.name))
    press(team, "anna", request_id)
    assert calls == ["Query", "PutItem", "BatchGetItem", "BatchGetItem"]


def test_the_second_person_who_clicks_is_shown_who_has_taken_the_request(stack: Cloud, team: SlackServer) -> None:
    [request_id] = posted(stack, "help")
    message = json.loads(json.dumps(team.messages[-1]))
    press(team, "anna")
    # Ben's screen still shows the button.
    team.messages[-1] |= {"blocks": message["blocks"]}
    assert press(team, "ben") == 200
    assert stack.show(request_id)["taken"]["by"] == "@anna"
    [whisper] = team.workspace.ephemeral_messages
    assert (whisper["user"], whisper["text"]) == ("ben", "@anna has this request.")
    assert "Taken by @anna" in json.dumps(team.messages[-1])


def test_only_a_second_click_by_the_same_person_releases_the_request(stack: Cloud, team: SlackServer) -> None:
    [request_id] = posted(stack, "help")
    press(team, "anna")
    press(team, "ben")
    assert stack.show(request_id)["taken"]["by"] == "@anna"
    assert "@anna has this request" in team.workspace.ephemeral_messages[-1]["text"]
    press(team, "anna")
    assert "taken" not in stack.show(request_id)
    assert actions(team.messages[-1]) == ["take"]
    press(team, "ben")
    assert stack.show(request_id)["taken"]["by"] == "@ben"


def test_a_request_that_was_released_again_and_again_can_only_be_released_by_an_operator(
    stack: Cloud, team: SlackServer
) -> None:
    [request_id] = posted(stack, "help")
    for _ in range(2 * MAX_TAKES):
        press(team, "anna")
    assert stack.show(request_id)["taken"]["by"] == "@anna"
    assert actions(team.messages[-1]) == ["release"]
    [whisper] = team.workspace.ephemeral_messages
    assert whisper["text"] == "This request was released too often. Only an operator can release it now."
    operators.release(requests(stack.table), request_id, "an operator")
    assert "taken" not in stack.show(request_id)


def test_a_slack_digest_shows_both_takers_after_two_simultaneous_button_clicks(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ben clicks while the function updates the message for Anna. So the function updates it once more, with both."""
    ids = posted(stack, *(f"number {n}" for n in range(12)))
    assert len(team.messages) == 1
    assert actions(team.messages[0]) == ["take"] * 12
    answer, others = response_url.send, iter(["ben"])

    def slowly(url: str, body: Mapping[str, Any]) -> bool:
        for other in others:
            assert press(team, other, ids[7]) == 200
        return answer(url, body)

    monkeypatch.setattr(response_url, "send", slowly)
    assert press(team, "anna", ids[3]) == 200
    drawn = json.dumps(team.messages[0])
    assert ("Taken by @anna" in drawn, "Taken by @ben" in drawn) == (True, True)
    assert actions(team.messages[0]).count("release") == 2
    assert [stack.show(each).get("taken", {}).get("by") for each in (ids[3], ids[7], ids[0])] == ["@anna", "@ben", None]


def test_a_message_update_that_slack_applies_late_does_not_hide_a_newer_update(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack applies Anna's update after Ben has clicked and the message was updated for him."""
    ids = posted(stack, *(f"number {n}" for n in range(2)))
    answer, others = response_url.send, iter(["ben"])

    def late(url: str, body: Mapping[str, Any]) -> bool:
        for other in others:
            assert press(team, other, ids[1]) == 200
            answer(url, body)
            return False
        return answer(url, body)

    monkeypatch.setattr(response_url, "send", late)
    assert press(team, "anna", ids[0]) == 200
    drawn = json.dumps(team.messages[0])
    assert ("Taken by @anna" in drawn, "Taken by @ben" in drawn) == (True, True)


def test_a_slack_digest_whose_requests_are_all_taken_stays_within_slacks_size_limits(
    stack: Cloud, team: SlackServer
) -> None:
    posted(stack, *("<&>" * 60 for _ in range(25)))
    for message in list(team.messages):
        for n, value in enumerate([button["value"] for button in buttons(message)]):
            assert team.press(message["ts"], f"a-colleague-with-a-long-name-{n}", value) == 200
    assert {action for message in team.messages for action in actions(message)} == {"release"}


def test_an_updated_slack_digest_still_says_why_each_request_was_sent_to_slack(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = {"channels": ["email"], "fallback": "slack", "escalate_after": 30}
    monkeypatch.setenv("ROUTES", json.dumps({"sales": route}))
    forget()
    stack.post("sales", "nobody takes it")
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    stack.reconcile(timedelta(minutes=31))
    stack.post("sales", "cannot be mailed")
    stack.produce()
    with patch("email_consumer.handler.ses", side_effect=RuntimeError("down")):
        stack.consume_until_quiet(Channel.EMAIL)
    stack.produce()
    stack.consume(Channel.SLACK, stack.receive(Channel.SLACK, 25))
    [message] = team.messages
    told = json.dumps(message["blocks"])
    press(team, "anna")
    again = json.dumps(team.messages[0]["blocks"])
    routes.cache_clear()
    assert "Taken by @anna" in again
    for text in (told, again):
        assert "Sent here because nobody is handling it, and the time to take it (30 minutes) is over." in text
        assert "Sent here because the email could not be delivered" in text


def test_a_button_click_proves_that_every_request_of_the_clicked_message_was_delivered(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A click updates the message, which loses its metadata: a search could no longer find the other requests in it."""
    monkeypatch.setenv("RETRY_DOUBT_DELAY", "0")
    team.fail("drop", method="chat.postMessage", times=1)
    first, second = posted(stack, "one", "two")
    assert len(team.messages) == 1
    assert {stack.status(first), stack.status(second)} == {"retrying"}
    press(team, "anna", first)
    assert team.messages[0]["metadata"] is None
    assert [stack.status(first), stack.status(second)] == ["delivered", "delivered"]
    stack.consume_until_quiet(Channel.SLACK)
    assert len(team.messages) == 1, "neither is posted again"


def test_a_new_slack_message_about_a_taken_request_names_the_taker(stack: Cloud, team: SlackServer) -> None:
    [request_id] = posted(stack, "help")
    press(team, "anna")
    resend(stack.table, request_id, Channel.SLACK)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert len(team.messages) == 2
    assert "Taken by @anna" in json.dumps(team.messages[-1])
    assert actions(team.messages[-1]) == ["release"]


def test_the_bot_gets_a_callback_that_names_the_taker(stack: Cloud, team: SlackServer) -> None:
    [request_id] = posted(stack, "help", callback_url="http://127.0.0.1:9/told")
    press(team, "anna")
    told = [delivery for delivery in record_of(stack.table, request_id).callbacks if "taken" in str(delivery.cause)]
    assert len(told) == 1


def test_clicking_the_button_of_an_expired_request_shows_that_the_request_has_expired(
    stack: Cloud, team: SlackServer
) -> None:
    [request_id] = posted(stack, "help")
    for sort in ("REQUEST", "RECORD"):
        stack.table.delete_item(Key={"pk": request_id, "sk": sort})
    assert press(team, "anna") == 200
    assert "not stored any more" in team.workspace.ephemeral_messages[-1]["text"]


def test_the_button_of_an_expired_request_does_not_take_a_later_request_with_the_same_idempotency_key(
    stack: Cloud, team: SlackServer
) -> None:
    for description in ("early", "late"):
        request_id = stack.post("sales", description, Idempotency_Key="key")
        stack.produce()
        if description == "early":
            stack.consume(Channel.SLACK)
            team.messages[0]["ts"] = str(float(team.messages[0]["ts"]) - RETENTION.total_seconds() - 60)
            for sort in ("REQUEST", "RECORD"):
                stack.table.delete_item(Key={"pk": request_id, "sk": sort})
    assert press(team, "anna") == 200
    assert "taken" not in stack.show(request_id)
    assert "not stored any more" in team.workspace.ephemeral_messages[-1]["text"]
    assert "late" not in json.dumps(team.messages[0])
    stack.consume(Channel.SLACK)
    assert len(team.messages) == 2, "the later request is posted"


def body_of(team: SlackServer, **changes: Any) -> str:  # noqa: ANN401
    payload = team.workspace.press(team.messages[-1]["ts"], None, "mallory", f"{team.origin}/actions/")
    return urlencode({"payload": json.dumps(payload | changes)})


def test_only_calls_with_slacks_valid_signature_are_accepted(stack: Cloud, team: SlackServer) -> None:
    [request_id] = posted(stack, "help")
    secret, body = team.signing_secret, body_of(team)
    good = signed(body, secret)
    tampered = body.replace("mallory", "anna")
    late = int(good["X-Slack-Request-Timestamp"])
    refused = {
        "nothing": (body, {}),
        "another secret": (body, signed(body, "0" * 32)),
        "a body that was changed": (tampered, good),
        "a signature of more than five minutes ago": (body, signed(body, secret, late - 301)),
        "a signature of the future": (body, signed(body, secret, late + 600)),
        "no timestamp": (body, {"X-Slack-Signature": good["X-Slack-Signature"]}),
        "a timestamp that is none": (body, good | {"X-Slack-Request-Timestamp": "soon"}),
        "a signature outside ASCII": (body, good | {"X-Slack-Signature": "v0=é"}),
        "no body": ("", good),
    }
    for what, (sent, headers) in refused.items():
        assert call_slack_endpoint(stack, sent, headers) == 401, what
    assert "taken" not in stack.show(request_id)
    assert call_slack_endpoint(stack, body, good) == 200, "and what Slack has signed is taken"


def test_a_running_function_accepts_calls_signed_with_a_new_secret_at_once(stack: Cloud, team: SlackServer) -> None:
    posted(stack, "help")
    body, new = body_of(team), "f" * 32
    assert call_slack_endpoint(stack, body, signed(body, team.signing_secret)) == 200
    boto3.client("secretsmanager").put_secret_value(SecretId="slack-signing", SecretString=new)
    assert call_slack_endpoint(stack, body, signed(body, new)) == 200


def test_calls_of_another_slack_app_are_refused(stack: Cloud, team: SlackServer) -> None:
    [request_id] = posted(stack, "help")
    message = team.messages[-1]
    changes: dict[str, Any]
    for changes in ({"api_app_id": "A0OTHER"}, {"message": {**message, "app_id": "A0OTHER"}}):
        body = body_of(team, **changes)
        assert call_slack_endpoint(stack, body, signed(body, team.signing_secret)) == 403
    assert "taken" not in stack.show(request_id)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com.example.org/actions/1",
        "https://example.org/actions/1",
        "http://hooks.slack.com/actions/1",
        "https://hooks.slack.com@example.org/",
        "https://hooks.slack.com:8443/actions/1",
        "https://[/",
        "",
    ],
)
@pytest.mark.parametrize("local", [True, False])
def test_the_reply_to_a_button_click_is_sent_only_to_slacks_hosts(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch, url: str, *, local: bool
) -> None:
    [request_id] = posted(stack, "help")
    if not local:
        monkeypatch.setenv("RESPONSE_ORIGIN", "")
        forget()
    body = body_of(team, response_url=url)
    assert call_slack_endpoint(stack, body, signed(body, team.signing_secret)) == 400
    assert "taken" not in stack.show(request_id)


def test_a_click_on_an_unknown_button_is_acknowledged(stack: Cloud, team: SlackServer) -> None:
    [request_id] = posted(stack, "help")
    opened = [{"type": "button", "action_id": "open_conversation", "action_ts": "1"}]
    foreign = [{"type": "button", "action_id": "take", "value": "no-id slack", "action_ts": "1"}]
    changes: dict[str, Any]
    for changes in ({"actions": opened}, {"actions": foreign}, {"actions": []}, {"type": "view_submission"}):
        body = body_of(team, **changes)
        assert call_slack_endpoint(stack, body, signed(body, team.signing_secret)) == 200
    assert "taken" not in stack.show(request_id)


@pytest.mark.parametrize("body", ["payload=", "payload={", "a=b", "payload=[]", "%", "payload=1&payload=2"])
def test_a_correctly_signed_call_with_an_unreadable_body_is_refused(stack: Cloud, team: SlackServer, body: str) -> None:
    assert call_slack_endpoint(stack, body, signed(body, team.signing_secret)) == 400


def test_handling_a_button_click_logs_no_customer_text(
    stack: Cloud, team: SlackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    posted(stack, "CANARY of a customer")
    press(team, "anna")
    assert "CANARY" not in capsys.readouterr().out


def test_a_request_is_taken_although_slack_does_not_update_the_message(stack: Cloud, team: SlackServer) -> None:
    [request_id] = posted(stack, "help")
    payload = team.workspace.press(team.messages[-1]["ts"], None, "anna", f"{team.origin}/actions/")
    payload["response_url"] = f"{team.origin}/actions/used-up"
    body = urlencode({"payload": json.dumps(payload)})
    assert call_slack_endpoint(stack, body, signed(body, team.signing_secret)) == 200
    assert stack.show(request_id)["taken"]["by"] == "@anna"


def test_a_person_who_clicks_while_the_dynamodb_table_is_unavailable_gets_an_error_message(
    stack: Cloud, team: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted(stack, "help")
    monkeypatch.setenv("TABLE_NAME", "none")
    forget()
    assert press(team, "anna") == 503


def test_a_button_in_a_message_of_another_slack_app_in_the_same_workspace_takes_no_request(
    stack: Cloud, team: SlackServer
) -> None:
    posted(stack, "help")
    team.workspace.install("xoxb-other", Bot("U0OTHER", "B0OTHER", "A0OTHER"))
    block = {"type": "actions", "elements": list(buttons(team.messages[-1]))}
    team.workspace.call("chat.postMessage", "xoxb-other", {"channel": "C0ASSIST", "text": "x", "blocks": [block]})
    assert press(team, "mallory") == 403
