"""A fresh cloud for every test."""

from collections.abc import Iterator

import pytest

from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, cloud, forget


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
