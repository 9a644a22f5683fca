"""Tests messages that SNS delivers to a wrong queue while a filter policy is new: its consumer does not send them."""

import json
from typing import Any

import pytest

from assistance.platform.metrics import Metric
from assistance.routing import DESTINATIONS, Channel
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, forget
from tests.integration.resources import client
from tests.integration.steps import arrived, emails
from tests.logged_metrics import emitted
from tests.logs import logging_everything
from tests.receiver import Receiver

NAMED = '["slack"]'


def unfiltered() -> None:
    """Remove the filter policies. SNS applies a new one within 15 minutes: until then a queue gets every message."""
    sns = client("sns")
    for subscription in sns.list_subscriptions()["Subscriptions"]:
        sns.set_subscription_attributes(
            SubscriptionArn=subscription["SubscriptionArn"], AttributeName="FilterPolicy", AttributeValue="{}"
        )


def enqueue(stack: Cloud, destination: Channel, body: str, attribute: str | None) -> list[str]:
    """Pass a message to a consumer. `attribute`: names its channels. Returns the ids of messages that failed."""
    attributes: Any = {"channels": {"DataType": "String.Array", "StringValue": attribute}} if attribute else {}
    stack.sqs.send_message(QueueUrl=stack.queues[destination], MessageBody=body, MessageAttributes=attributes)
    return stack.consume(destination)


def body_of_the_next_message(stack: Cloud) -> str:
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    assert record["messageAttributes"]["channels"]["stringValue"] == NAMED
    return str(record["body"])


def test_a_message_delivered_to_every_queue_without_sns_filtering_is_sent_only_by_its_own_channel(
    stack: Cloud, slack: SlackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    unfiltered()
    with Receiver() as bot:
        requests = [stack.post("sales", "to slack", bot.url), stack.post("pricing", "by mail", bot.url)]
        for _ in range(2):
            stack.produce()
            for destination in DESTINATIONS:
                stack.consume_until_quiet(destination)
    assert (len(slack.messages), len(emails()), len(bot.calls)) == (1, 1, 2)
    assert [stack.status(request_id) for request_id in requests] == ["delivered", "delivered"]
    assert not [destination for destination in DESTINATIONS if stack.dead_letters(destination)]
    counts = emitted(capsys.readouterr().out)
    misrouted = {series.label: sum(values) for series, values in counts.items() if series.name == Metric.MISROUTED}
    # Two requests and two callbacks: four messages. One queue is the right one for each.
    assert misrouted == {"Misrouted slack": 3, "Misrouted email": 3, "Misrouted teams": 4, "Misrouted callback": 2}


@pytest.mark.parametrize("body", ["not ours", '{"version": 9}'])
def test_a_consumer_acknowledges_and_logs_any_message_for_another_channel(stack: Cloud, body: str) -> None:
    with logging_everything() as log:
        assert enqueue(stack, Channel.EMAIL, body, NAMED) == []
    assert "it is for other channels" in log.getvalue()
    assert stack.dead_letters(Channel.EMAIL) == []


def test_a_resend_message_of_version_1_is_not_sent_by_a_channel_that_the_message_does_not_name(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales", "once")
    request = json.loads(body_of_the_next_message(stack))["request"]
    forced = json.dumps({"version": 1, "request": request, "force": "decision"})
    assert enqueue(stack, Channel.EMAIL, forced, NAMED) == []
    assert emails() == []
    assert enqueue(stack, Channel.SLACK, forced, NAMED) == []
    assert arrived(slack, "once") == 1
    assert stack.show(request_id)["deliveries"]


@pytest.mark.parametrize("attribute", [None, NAMED, "slack", "[1]", "{}", "[" * 9_999])
def test_the_delivery_record_decides_whether_a_message_without_a_readable_channel_attribute_is_sent(
    stack: Cloud, slack: SlackServer, attribute: str | None
) -> None:
    request_id = stack.post("sales", "once")
    body = body_of_the_next_message(stack)
    # According to the record the request is sent on Slack only.
    if attribute != NAMED:
        assert enqueue(stack, Channel.EMAIL, body, attribute) == []
    assert enqueue(stack, Channel.SLACK, body, attribute) == []
    assert (arrived(slack, "once"), emails(), stack.status(request_id)) == (1, [], "delivered")


def test_a_message_for_two_channels_is_sent_by_both_consumers(
    stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTES", json.dumps({"sales": {"channels": ["slack", "email"], "fallback": None}}))
    forget()
    stack.post("sales", "to both")
    stack.produce()
    for destination in DESTINATIONS:
        stack.consume_until_quiet(destination)
    assert (len(slack.messages), len(emails())) == (1, 1)
