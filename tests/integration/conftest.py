"""Fixtures: a new system in moto for every test."""

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
    """Time that stands still until the test shifts it.

    The functions distinguish a repeated call from the SDK's retry by the millisecond of the call.
    """
    with time_machine.travel(utc_now(), tick=False) as traveller:
        yield traveller


@pytest.fixture
def stack(slack: SlackServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """A new system. Its table is in memory, or in moto if the test has the marker `moto`.

    `test_table_contract.py` checks that both tables behave the same.
    """
    kind = cloud if request.node.get_closest_marker("moto") else cloud_without_dynamodb
    with kind(slack.url) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        forget()
        yield running
