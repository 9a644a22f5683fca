"""A world per module: moto and its clock are shared with nobody else."""

import functools
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.faults.world import World, world

COUNT: Final = "fault points"


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
    return functools.partial(record_property, COUNT)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.getreports("passed")
    lines = sorted(str(value) for report in passed for name, value in report.user_properties if name == COUNT)
    if lines:
        terminalreporter.section("fault points")
        for line in lines:
            terminalreporter.write_line(line)
