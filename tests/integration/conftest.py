"""Fixtures: a fresh system in moto for every test."""

from collections.abc import Iterator

import pytest
import time_machine

from assistance.platform.clock import utc_now
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud, cloud, cloud_without_dynamodb, forget


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer(token="xoxb-local", channels=("C0ASSIST",)) as server:
        yield server


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Time that stands until the test shifts it. A repeated call is told from the SDK's retry by its millisecond."""
    with time_machine.travel(utc_now(), tick=False) as traveller:
        yield traveller


@pytest.fixture
def stack(slack: SlackServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """The table is in memory, which `test_table_contract.py` holds against moto's; or in moto, by the marker."""
    kind = cloud if request.node.get_closest_marker("moto") else cloud_without_dynamodb
    with kind(slack.url) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        forget()
        yield running
