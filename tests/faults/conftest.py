"""A world per module: moto and its clock are shared with nobody else."""

import functools
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import FAULT_POINTS
from tests.faults.world import World, world


@pytest.fixture(scope="module")
def one_world() -> Iterator[World]:
    with world() as here:
        yield here


@pytest.fixture
def here(one_world: World) -> World:
    one_world.reset()
    return one_world


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say something at the end of the test run."""
    return functools.partial(record_property, FAULT_POINTS)
