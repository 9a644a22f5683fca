"""Every promise holds in every state that a request can reach, and from every state it can still end."""

import os
from collections.abc import Callable

import pytest

from tests.conftest import STATES
from tests.model.walk import walk
from tests.model.world import World
from tests.model.worlds import HUGE, LARGE, SMALL

SOAK = "SOAK" in os.environ
WORLDS = {**SMALL, **LARGE, **(HUGE if SOAK else {})}


@pytest.mark.parametrize("start", WORLDS.values(), ids=WORLDS)
def test_every_promise_holds_in_every_state(start: World, record_property: Callable[[str, object], None]) -> None:
    found = walk(start, most=8_000_000)
    record_property(STATES, found.states)
    assert not found.wrong, str(found)
    assert found.complete
