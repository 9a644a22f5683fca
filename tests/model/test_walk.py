"""Tests every invariant in every state that a request can reach, and that each state can lead to a finished one.

The result depends only on the domain and the model. So while neither changes, a world is not walked again.
"""

from collections.abc import Callable
from typing import Final

import pytest

from tests.build_cache import cached
from tests.conftest import STATES
from tests.model.walk import walk
from tests.model.world import World
from tests.model.worlds import EFFECTS, LARGE, SMALL

SOURCES: Final = ("functions/assistance/domain", "tests/model", "tests/build_cache.py")


@pytest.mark.parametrize("name", SMALL)
def test_every_invariant_holds_in_every_state_of_a_small_model(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    every_promise_holds(name, SMALL[name], record_property, effects=EFFECTS)


@pytest.mark.parametrize("name", LARGE)
def test_every_invariant_holds_in_every_state_of_a_large_model(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    every_promise_holds(name, LARGE[name], record_property, effects=0)


def every_promise_holds(
    name: str, start: World, record_property: Callable[[str, object], None], *, effects: int
) -> None:
    visited = list[int]()

    def states() -> int:
        found = walk(start, effects=effects)
        assert not found.wrong, str(found)
        assert found.complete
        visited.append(found.states)
        return found.states

    number = cached(f"walk of {name}", states, SOURCES)
    record_property(STATES, number if visited else f"{name}: {number:,} (an earlier run of the same code)")
