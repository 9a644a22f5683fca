"""Tests the channel Teams with a server that responds like a Teams workflow."""

import importlib
import json
import ssl
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import trustme

from assistance.platform import tls
from assistance.routing import Channel, routes
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, forget
from tests.integration.steps import arrived, emails
from tests.receiver import Receiver
from tests.records import delivery_of

ACCEPTED = (202, {"x-ms-workflow-run-id": "08584"})
ROUTES = {"support": {"channels": ["teams", "slack"], "fallback": "email"}}


@pytest.fixture
def workflow() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def deployed(stack: Cloud, workflow: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ROUTES", json.dumps(ROUTES))
    monkeypatch.setenv("TEAMS_LOOPBACK", "true")
    put_secret(f"{workflow.url}\n")
    forget()
    yield
    routes.cache_clear()


def put_secret(value: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="teams", SecretString=value)


def settle(stack: Cloud) -> None:
    for _ in range(2):
        stack.produce()
        for channel in Channel:
            stack.consume_until_quiet(channel)


def delivery(stack: Cloud, request_id: str) -> dict[str, Any]:
    [found] = [it for it in stack.show(request_id)["deliveries"] if it["channel"] == "teams"]
    return dict(found)


def test_a_request_with_the_channels_teams_and_slack_is_delivered_on_both(
    stack: Cloud, slack: SlackServer, workflow: Receiver
) -> None:
    workflow.answers = [ACCEPTED]
    request_id = stack.post("support", "words of a customer's")
    settle(stack)
    assert stack.status(request_id) == "delivered"
    [call] = workflow.calls
    assert call.path == "/bot?conversation=42", "the signature is in the query"
    assert call.headers["content-type"] == "application/json"
    [attachment] = json.loads(call.body)["attachments"]
    assert "words of a customer's" in json.dumps(attachment["content"])
    assert arrived(slack, "words of a customer's") == 1
    [attempt] = delivery_of(stack.table, request_id, Channel.TEAMS).attempts
    assert attempt.result == "08584"


def test_the_fallback_delivers_a_request_that_teams_refuses(stack: Cloud, workflow: Receiver) -> None:
    workflow.answers = [(404, {})]
    request_id = stack.post("support", "by mail then")
    settle(stack)
    assert stack.status(request_id) == "delivered"
    assert stack.show(request_id)["fallback"] == {
        "channel": "email", "failed_channel": "teams", "error": "http_404",
    }  # fmt: skip
    [mail] = emails()
    assert "the Teams message could not be posted (http_404)" in mail
    [letter] = stack.dead_letters(Channel.TEAMS)
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "http_404"


@pytest.mark.parametrize(
    ("answer", "error", "in_doubt"),
    [
        ((503, {}), "http_503", True),
        ((307, {"location": "https://elsewhere.example"}), "http_307", False),
        (b"not http\r\n\r\n", "connection_error", True),
        (b"", "connection_error", True),
        (None, "timeout", True),
    ],
)
def test_a_transient_teams_failure_is_retried_and_a_card_with_unknown_outcome_is_posted_again(
    stack: Cloud,
    workflow: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, dict[str, str]] | bytes | None,
    error: str,
    *,
    in_doubt: bool,
) -> None:
    handler = importlib.import_module("teams_consumer.handler")
    monkeypatch.setattr(handler, "TIMEOUT_SECONDS", 1 if answer is None else 8)
    workflow.answers = [answer, ACCEPTED]
    request_id = stack.post("support")
    settle(stack)
    first, second = delivery(stack, request_id)["timeline"]
    assert (first["outcome"], first["error"], first.get("in_doubt", False)) == ("retrying", error, in_doubt)
    assert second["outcome"] == "delivered"
    assert len(workflow.calls) == 2


def test_a_teams_rate_limit_does_not_count_as_an_attempt(stack: Cloud, workflow: Receiver) -> None:
    workflow.answers = [*[(429, {"Retry-After": "0"})] * 5, ACCEPTED]
    request_id = stack.post("support")
    settle(stack)
    # The message is invisible for as long as Teams asks, but at least a second.
    assert delivery(stack, request_id)["status"] == "retrying"
    assert delivery(stack, request_id)["attempts"] == 0


@pytest.mark.parametrize(
    "value", [None, "hooks", "http://hooks.example.com/workflow", "https:///nobody", "https://[x/y"]
)
def test_a_delivery_waits_until_the_teams_secret_contains_an_https_url(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.setenv("TEAMS_SECRET", boto3.client("secretsmanager").create_secret(Name="empty")["ARN"])
    else:
        put_secret(value)
    forget()
    request_id = stack.post("support")
    settle(stack)
    found = delivery(stack, request_id)
    assert found["last_error"] == "teams_secret_unavailable"
    assert found["attempts"] == 3, "as often as any transient failure"


def test_a_replaced_teams_workflow_url_is_used_by_the_next_attempt(stack: Cloud, workflow: Receiver) -> None:
    with Receiver() as new:
        first = stack.post("support", "warms the cache")
        settle(stack)
        put_secret(new.url)
        workflow.answers = [(401, {})]
        second = stack.post("support", "by the new one")
        settle(stack)
        assert [stack.status(request_id) for request_id in (first, second)] == ["delivered"] * 2
        assert len(new.calls) == 1


def test_a_teams_server_with_a_wrong_certificate_gets_no_card(stack: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    server, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    with Receiver(tls=server) as workflow:
        put_secret(f"https://localhost:{workflow.port}/workflow?sig=a%2Fb")
        forget()
        monkeypatch.setattr(tls, "context", lambda: trusting)
        request_id = stack.post("support")
        stack.produce()
        stack.consume(Channel.TEAMS)
        assert delivery(stack, request_id)["last_error"] == "tls_error"
        assert workflow.calls == []
        authority.configure_trust(trusting)
        settle(stack)
        assert delivery(stack, request_id)["status"] == "delivered"
        assert [call.path for call in workflow.calls] == ["/workflow?sig=a%2Fb"]
