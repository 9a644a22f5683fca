"""Fixtures: one simulated system (`World`) per test module, since modules can't share moto and its clock."""

import functools
import json
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from assistance.routing import routes
from tests.conftest import FAULT_POINTS
from tests.faults.world import World, world
from tests.integration.cloud import forget

Deploy: TypeAlias = Callable[[list[str], str | None], None]


@pytest.fixture(scope="module")
def one_world() -> Iterator[World]:
    with world() as system:
        yield system


@pytest.fixture
def system(one_world: World) -> World:
    one_world.reset()
    return one_world


@pytest.fixture
def deploy(system: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Returns a function that deploys the topic support with these channels and this fallback (None: no fallback)."""

    def deploy(channels: list[str], fallback: str | None) -> None:
        monkeypatch.setenv("ROUTES", json.dumps({"support": {"channels": channels, "fallback": fallback}}))
        forget()

    yield deploy
    # Otherwise the next test would use these routes too.
    monkeypatch.delenv("ROUTES", raising=False)
    routes.cache_clear()
    system.cold()


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Returns a function that adds a line to the summary at the end of the test run."""
    return functools.partial(record_property, FAULT_POINTS)
