"""A world per module: moto and its clock are shared with nobody else."""

from collections.abc import Iterator

import pytest

from tests.faults.world import World, world

COUNTS = pytest.StashKey[list[str]]()


@pytest.fixture(scope="module")
def one_world() -> Iterator[World]:
    with world() as here:
        yield here


@pytest.fixture
def here(one_world: World) -> World:
    one_world.reset()
    return one_world


@pytest.fixture
def counts(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the test run."""
    return pytestconfig.stash.setdefault(COUNTS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(COUNTS, [])
    if lines:
        terminalreporter.section("fault points")
        for line in lines:
            terminalreporter.write_line(line)
