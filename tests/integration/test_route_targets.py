"""Tests where a route sends on each channel. A deployment may change this while requests are being delivered."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import boto3
import pytest
from moto.sesv2.models import sesv2_backends

from assistance.routing import Channel, routes
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, forget
from tests.receiver import Receiver
from tests.records import delivery_of

Where: TypeAlias = dict[str, Any]
Deploy: TypeAlias = Callable[..., None]
CHANNELS: dict[str, Where] = {
    "sales": {"channels": ["slack"], "fallback": "email"},
    "pricing": {"channels": ["slack"], "fallback": None},
    "support": {"channels": ["teams", "email"], "fallback": None},
}


@pytest.fixture
def deploy(stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Returns a function that deploys routes. Its arguments: for each topic, a Slack channel, recipient or secret."""
    slack.workspace.channels |= {"C0SALES", "C0PRICES"}

    def deploy(**where: Where) -> None:
        chosen = {topic: {**route, "where": where.get(topic, {})} for topic, route in CHANNELS.items()}
        monkeypatch.setenv("ROUTES", json.dumps(chosen))
        forget()

    deploy()
    yield deploy
    routes.cache_clear()


def posted(slack: SlackServer) -> Counter[str]:
    """Return the number of messages in each Slack channel."""
    return Counter(message["channel"] for message in slack.messages)


def test_requests_of_two_topics_in_one_batch_are_posted_to_the_slack_channel_of_each_topic(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(sales={"slack": "C0SALES"}, pricing={"slack": "C0PRICES"})
    ids = {topic: [stack.post(topic, f"{topic} {number}") for number in range(3)] for topic in ("sales", "pricing")}
    stack.produce()
    records = stack.receive(Channel.SLACK)
    assert len(records) == 6
    assert stack.consume(Channel.SLACK, records) == []
    assert posted(slack) == {"C0SALES": 1, "C0PRICES": 1}
    for message in slack.messages:
        own, other = ("sales", "pricing") if message["channel"] == "C0SALES" else ("pricing", "sales")
        text = json.dumps(message)
        assert all(one in text for one in ids[own])
        assert not any(one in text for one in ids[other])
    for request_id in ids["sales"]:
        [attempt] = delivery_of(stack.table, request_id, Channel.SLACK).attempts
        assert attempt.place == "C0SALES"


def test_a_topic_without_a_slack_channel_uses_the_default_slack_channel_of_the_stage(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(sales={"slack": "C0SALES"})
    stack.post("pricing")
    stack.produce()
    stack.consume(Channel.SLACK)
    assert posted(slack) == {"C0ASSIST": 1}


def test_an_accepted_request_of_a_removed_topic_is_posted_to_the_default_slack_channel_of_the_stage(
    stack: Cloud, slack: SlackServer, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(sales={"slack": "C0SALES"})
    stack.post("sales")
    stack.produce()
    monkeypatch.setenv("ROUTES", json.dumps({"pricing": CHANNELS["pricing"]}))
    forget()
    stack.consume(Channel.SLACK)
    assert posted(slack) == {"C0ASSIST": 1}


def test_a_rate_limit_of_one_slack_channel_delays_no_other_slack_channel(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(sales={"slack": "C0SALES"}, pricing={"slack": "C0PRICES"})
    ids = [stack.post(topic) for topic in ("sales", "pricing")]
    stack.produce()
    records = stack.receive(Channel.SLACK)
    slack.fail("rate_limited", retry_after=0, holding="C0SALES", times=1)
    [limited] = stack.consume(Channel.SLACK, records)
    assert stack.status(ids[1]) == "delivered"
    # Before the message would become visible by itself.
    stack.consume(Channel.SLACK, [record for record in records if record["messageId"] == limited])
    assert posted(slack) == {"C0SALES": 1, "C0PRICES": 1}


def test_a_request_with_unknown_outcome_is_searched_in_the_old_slack_channel_after_a_route_change(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(sales={"slack": "C0SALES"})
    slack.fail("drop", times=1)
    request_id = stack.post("sales")
    stack.produce()
    assert len(stack.consume(Channel.SLACK)) == 1
    deploy(sales={"slack": "C0PRICES"}, pricing={"slack": "C0PRICES"})
    other = stack.post("pricing")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert [stack.status(each) for each in (request_id, other)] == ["delivered", "delivered"]
    assert posted(slack) == {"C0SALES": 1, "C0PRICES": 1}


def test_a_redriven_message_is_posted_to_the_corrected_slack_channel(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(pricing={"slack": "C0GONE"})
    request_id = stack.post("pricing")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "failed"
    deploy(pricing={"slack": "C0PRICES"})
    stack.redrive(Channel.SLACK)
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert posted(slack) == {"C0PRICES": 1}


def test_the_recipients_of_a_topic_get_the_mails_and_fallback_mails_of_that_topic(
    stack: Cloud, slack: SlackServer, deploy: Deploy
) -> None:
    deploy(sales={"email": ["sales@example.com", "boss@example.com"]})
    slack.fail("error", error="is_archived")
    stack.post("sales", "for sales")
    stack.post("support", "for all")
    for _ in range(2):
        stack.produce()
        for channel in (Channel.SLACK, Channel.EMAIL):
            stack.consume_until_quiet(channel)
    sent = sesv2_backends["123456789012"]["us-east-1"].core_backend.sent_messages
    recipients = {
        topic: mail.destinations["ToAddresses"]
        for mail in sent
        for topic in ("sales", "all")
        if f"for {topic}" in mail.body
    }
    assert recipients == {"sales": ["sales@example.com", "boss@example.com"], "all": ["sales@example.com"]}


def test_a_request_is_posted_to_the_teams_workflow_whose_url_is_in_the_secret_of_its_topic(
    stack: Cloud, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as default, Receiver() as own:
        secrets = boto3.client("secretsmanager")
        secrets.put_secret_value(SecretId="teams", SecretString=default.url)
        arn = secrets.create_secret(Name="elsewhere", SecretString=own.url)["ARN"]
        monkeypatch.setenv("TEAMS_SECRETS", json.dumps({"elsewhere": arn}))
        monkeypatch.setenv("TEAMS_LOOPBACK", "true")
        for where in ({"teams": "elsewhere"}, {}):
            deploy(support=where)
            stack.post("support")
            stack.produce()
            stack.consume_until_quiet(Channel.TEAMS)
            assert (len(own.calls), len(default.calls)) == (1, 0 if where else 1)
