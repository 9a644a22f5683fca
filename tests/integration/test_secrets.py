"""Tests unusable secrets: deliveries wait, and the log describes the defect without the secret's value."""

import json
from collections.abc import Iterator

import boto3
import pytest

from assistance.routing import CALLBACK, Channel, Destination, routes
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, forget
from tests.integration.steps import arrived
from tests.logs import logging_everything
from tests.receiver import Receiver

CANARY = "C4N4RY"
NAMES: dict[Destination, str] = {Channel.SLACK: "slack-token", Channel.TEAMS: "teams", CALLBACK: "signing"}
ROUTES = {channel: {"channels": [channel], "fallback": None} for channel in (Channel.SLACK, Channel.TEAMS)}


@pytest.fixture(autouse=True)
def deployed(stack: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ROUTES", json.dumps(ROUTES))
    forget()
    yield
    routes.cache_clear()


def store(destination: Destination, value: str | bytes) -> None:
    binary = {"SecretBinary": value} if isinstance(value, bytes) else {"SecretString": value}
    boto3.client("secretsmanager").put_secret_value(SecretId=NAMES[destination], **binary)


@pytest.mark.parametrize(
    ("destination", "value", "defect"),
    [
        (Channel.SLACK, f"xoxb-{CANARY}\nxoxb-2222", "U+000A"),
        (Channel.SLACK, f"xoxb\u2011{CANARY}", "U+2011"),
        (Channel.SLACK, f"xoxb-{CANARY}".encode(), "binary"),
        (Channel.SLACK, "\n", "empty"),
        (Channel.TEAMS, f"https://[x/{CANARY}", "no URL"),
        (Channel.TEAMS, f"https://hooks.example.com:{CANARY}/x", "no URL"),
        (Channel.TEAMS, f"https://127.0.0.1/a b?sig={CANARY}", "U+0020"),
        (Channel.TEAMS, f"https://127.0.0.1/\u2011?sig={CANARY}", "U+2011"),
        (CALLBACK, f"{CANARY}\u2011", "24 to 64 bytes"),
        (CALLBACK, CANARY.encode(), "binary"),
    ],
)
def test_a_delivery_waits_for_an_unusable_secret_and_the_log_describes_it_without_its_value(
    stack: Cloud, destination: Destination, value: str | bytes, defect: str
) -> None:
    store(destination, value)
    with Receiver() as bot, logging_everything() as log:
        topic, callback_url = (Channel.SLACK, bot.url) if destination == CALLBACK else (destination, None)
        request_id = stack.post(topic, callback_url=callback_url)
        for each in (topic, destination):
            stack.produce()
            stack.consume_until_quiet(each)
        assert bot.calls == []
    written = [json.loads(line) for line in log.getvalue().splitlines() if line.startswith("{")]
    said = [entry for entry in written if "defect" in entry]
    assert said
    assert all(defect in entry["defect"] and f":secret:{NAMES[destination]}-" in entry["secret"] for entry in said)
    [letter] = stack.dead_letters(destination)
    code = "slack_token_unavailable" if destination == Channel.SLACK else f"{destination}_secret_unavailable"
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == code
    assert CANARY not in log.getvalue() + json.dumps(stack.show(request_id)) + json.dumps(letter)


def test_a_corrected_secret_value_is_used_by_the_next_attempt(stack: Cloud, slack: SlackServer) -> None:
    store(Channel.SLACK, "xoxb-local\nxoxb-local")
    request_id = stack.post("slack", "mended")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    store(Channel.SLACK, "xoxb-local")
    assert stack.consume(Channel.SLACK, [record]) == []
    assert arrived(slack, "mended") == 1
    assert stack.show(request_id)["deliveries"][0]["status"] == "delivered"
