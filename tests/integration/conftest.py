"""A fresh cloud for every test."""

import importlib
from collections.abc import Iterator

import pytest

from local.slack_server import SlackServer
from tests.integration.cloud import HANDLERS, Cloud, cloud
from tests.recorded_calls import as_function

CACHED = {
    "api.handler": ("requests",),
    "stream_producer.handler": ("publisher",),
    "slack_consumer.handler": ("secrets",),
    "callback_consumer.handler": ("secrets", "requests", "egress"),
    "email_consumer.handler": ("ses",),
    "email_feedback.handler": ("feedback",),
    "reconciler.handler": ("requests", "outbox", "ledger"),
}


def forget() -> None:
    """Make every function start cold: drop its settings, its clients and its handler. Its calls are recorded."""
    for function in HANDLERS:
        importlib.import_module(f"{function}.settings").settings.cache_clear()
        handler = importlib.import_module(f"{function}.handler")
        for name in CACHED[handler.__name__]:
            getattr(handler, name).cache_clear()
        importlib.reload(handler)
        vars(handler)["lambda_handler"] = as_function(function, handler.lambda_handler)


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer(token="xoxb-local", channels=("C0ASSIST",)) as server:
        yield server


@pytest.fixture
def stack(slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with cloud(slack.url) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        forget()
        yield running
