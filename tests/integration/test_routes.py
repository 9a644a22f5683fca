"""Tests topics and routes set by the deployer. A deployment may change them while requests are being delivered."""

import importlib
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from api import reference
from assistance.routing import Channel, routes
from infra import openapi
from local.slack_server import SlackServer
from reconciler.new_requests import FIRST_CHECK_AFTER
from tests.integration.cloud import Cloud, forget
from tests.integration.steps import arrived, emails

LATER = 2 * FIRST_CHECK_AFTER
Deploy: TypeAlias = Callable[..., None]


@pytest.fixture
def deploy(stack: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Returns a function that deploys these routes."""

    def deploy(**chosen: tuple[list[str], str | None]) -> None:
        given = {topic: {"channels": channels, "fallback": fallback} for topic, (channels, fallback) in chosen.items()}
        monkeypatch.setenv("ROUTES", json.dumps(given))
        forget()

    yield deploy
    # Otherwise the next test would use these routes too.
    monkeypatch.delenv("ROUTES", raising=False)
    routes.cache_clear()
    start_cold()


def start_cold() -> None:
    """Forget the OpenAPI documents of the earlier routes, since a function reads its routes once."""
    reference.document.cache_clear()
    importlib.reload(openapi)


def refused(stack: Cloud, topic: str) -> dict[str, Any]:
    body = json.dumps({"topic": topic, "description": "help"})
    answer = stack.call("POST", "/assistance-requests", body, Content_Type="application/json")
    assert answer["statusCode"] == 422
    error: dict[str, Any] = answer["json"]["errors"][0]
    return error


def settle(stack: Cloud) -> None:
    stack.produce()
    for channel in Channel:
        stack.consume_until_quiet(channel)


def test_a_topic_added_to_the_routes_setting_is_delivered_like_the_default_topics(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(support=(["slack", "email"], None))
    request_id = stack.post(" Support ", "to both")
    settle(stack)
    assert stack.status(request_id) == "delivered"
    assert arrived(slack, "to both") == 2
    assert stack.reconcile(LATER)["ledger"]["open"] == 0
    assert refused(stack, "sales") == {"pointer": "#/topic", "detail": "Input should be 'support'"}


def test_the_served_openapi_document_lists_the_topics_of_the_routes_setting(stack: Cloud, deploy: Deploy) -> None:
    deploy(support=(["slack"], None))
    start_cold()
    document = json.loads(stack.fetch("/openapi.json")["body"])
    assert document["components"]["schemas"]["Call"]["properties"]["topic"]["enum"] == ["support"]
    assert document == {**openapi.document(), "servers": [{"url": "."}]}
    assert "sales" not in json.dumps(document)


def test_a_failed_request_uses_the_fallback_in_the_routes_setting(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(support=(["slack"], "email"))
    slack.fail("status", status=503)
    request_id = stack.post("support", "by mail then")
    settle(stack)
    settle(stack)
    shown = stack.show(request_id)
    assert shown["status"] == "delivered"
    assert shown["fallback"]["channel"] == "email"


def test_a_request_accepted_before_its_topic_was_removed_is_delivered_and_counted_by_the_reconciler(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    unpublished, queued = stack.post("sales", "unpublished"), stack.post("sales", "queued")
    stack.produce(stack.stream_records()[1:])
    deploy(pricing=(["email"], None))
    assert refused(stack, "sales")["detail"] == "Input should be 'pricing'"
    assert stack.status(unpublished) == "accepted"
    stack.reconcile(2 * LATER)
    settle(stack)
    assert [stack.status(request_id) for request_id in (unpublished, queued)] == ["delivered"] * 2
    assert stack.reconcile(2 * LATER)["ledger"]["open"] == 0


def test_an_accepted_request_keeps_its_fallback_after_its_topic_was_removed(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    request_id = stack.post("sales", "by mail then")
    stack.produce()
    deploy(pricing=(["email"], None))
    slack.fail("status", status=503)
    settle(stack)
    settle(stack)
    assert stack.status(request_id) == "delivered"
    assert stack.show(request_id)["fallback"]["channel"] == "email"
    assert len(stack.dead_letters(Channel.SLACK)) == 1


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ((["slack"], "email"), (["email"], "slack")),
        ((["slack"], "email"), (["slack"], None)),
        ((["slack"], "email"), ([], "email")),
    ],
)
def test_an_accepted_request_keeps_its_fallback_after_a_route_change(
    stack: Cloud,
    slack: SlackServer,
    deploy: Deploy,
    then: Any,  # noqa: ANN401
    now: Any,  # noqa: ANN401
) -> None:
    deploy(sales=then)
    request_id = stack.post("sales", "hush")
    stack.produce()
    deploy(sales=now)
    slack.fail("status", status=503)
    settle(stack)
    settle(stack)
    assert stack.show(request_id)["fallback"]["channel"] == "email"
    assert stack.status(request_id) == "delivered"
    assert len(emails()) == 1


def test_a_request_accepted_without_a_fallback_gets_none_after_a_route_change(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(sales=(["slack"], None))
    slack.fail("error", error="is_archived")
    request_id = stack.post("sales", "once by slack")
    settle(stack)
    deploy(sales=(["slack"], "email"))
    stack.redrive(Channel.SLACK)
    settle(stack)
    assert stack.status(request_id) == "failed"
    assert not emails()
    assert stack.reconcile(LATER)["ledger"]["open"] == 0


@pytest.mark.parametrize("now", [["slack"], ["slack", "email"]])
def test_a_request_is_delivered_when_the_channels_of_its_original_route_have_delivered(
    stack: Cloud, slack: SlackServer, deploy: Deploy, now: list[str]
) -> None:
    deploy(sales=(["slack", "email"], None))
    request_id = stack.post("sales", "to both")
    stack.produce()
    deploy(sales=(now, None))
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.reconcile(LATER)["ledger"]["open"] == 1
    assert stack.status(request_id) != "delivered"
    stack.consume_until_quiet(Channel.EMAIL)
    assert stack.reconcile(LATER)["ledger"]["open"] == 0
    assert stack.status(request_id) == "delivered"


def test_a_request_whose_message_waits_for_a_removed_channel_stays_open_and_does_not_count_as_lost(
    stack: Cloud, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.post("sales", "waits")
    stack.produce()
    queues = json.loads(stack.environment["QUEUES"])
    del queues["slack"]
    monkeypatch.setenv("QUEUES", json.dumps(queues))
    deploy(pricing=(["email"], None))
    found = stack.reconcile(200 * LATER)["ledger"]
    assert (found["open"], found["lost"], found["places"]) == (1, [], {"sales/slack/queued": 1})
