"""Fixtures: the local stack, started once, with short retry delays and an early reconciler."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e import browser as browsers
from tests.e2e.bot import Bot
from tests.e2e.runner import Runner, wait_until_stopped

SHORT_DELAYS = {
    "retry_attempts": "30",
    "retry_first_delay": "1",
    "retry_max_delay": "1",
    "retry_doubt_delay": "1",
    "grace_seconds": "1",
    "overdue_seconds": "60",
}


@contextmanager
def running(directory: Path, **context: str) -> Iterator[Runner]:
    """A local stack in that directory, with short delays and the given additional CDK context."""
    started = Runner(directory, context={**SHORT_DELAYS, **context})
    try:
        yield started
        survives_nothing(started)
    finally:
        started.close()


def survives_nothing(runner: Runner) -> None:
    """Kill the main process of the stack, and check that no other process of the stack survives that."""
    document, processes = runner.running(), runner.descendants()
    runner.process.kill()
    assert runner.exit_status() == -signal.SIGKILL
    wait_until_stopped(processes, document)


def bot_of(runner: Runner) -> Bot:
    """A bot that calls that stack, after the stack has started."""
    document = runner.running()
    # Until then the two requests that `make run` sends are not delivered yet.
    runner.wait_for_output("Ctrl-C stops the stack")
    return Bot(document)


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    directory = tmp_path_factory.mktemp("stack")
    directory.chmod(0o755)  # The mode that earlier versions set: the runner must make the directory private.
    with running(directory) as started:
        yield started


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this folder. No other event loop can run in this process while its own runs."""
    with browsers.running() as started:
        yield started


@pytest.fixture(scope="session")
def bot(runner: Runner) -> Bot:
    return bot_of(runner)
