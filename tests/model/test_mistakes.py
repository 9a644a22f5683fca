"""The walk is useful only if it finds mistakes: it must find every one of these."""

import pytest

from tests.model.mistakes import MISTAKES, made
from tests.model.walk import walk
from tests.model.worlds import SMALL


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_walk_finds_the_mistake(mistake: str) -> None:
    with made(MISTAKES[mistake]) as core:
        assert any(walk(start, core=core).wrong for start in SMALL.values())
