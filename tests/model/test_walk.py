"""Tests every invariant in every state that a request can reach, and that each state can lead to a finished one."""

from collections.abc import Callable

import pytest

from tests.conftest import STATES
from tests.model.walk import walk
from tests.model.world import World
from tests.model.worlds import EFFECTS, LARGE, SMALL


@pytest.mark.parametrize("start", SMALL.values(), ids=SMALL)
def test_every_invariant_holds_in_every_state_of_a_small_model(
    start: World, record_property: Callable[[str, object], None]
) -> None:
    every_promise_holds(start, record_property, effects=EFFECTS)


@pytest.mark.parametrize("start", LARGE.values(), ids=LARGE)
def test_every_invariant_holds_in_every_state_of_a_large_model(
    start: World, record_property: Callable[[str, object], None]
) -> None:
    every_promise_holds(start, record_property, effects=0)


def every_promise_holds(start: World, record_property: Callable[[str, object], None], *, effects: int) -> None:
    found = walk(start, effects=effects)
    record_property(STATES, found.states)
    assert not found.wrong, str(found)
    assert found.complete
