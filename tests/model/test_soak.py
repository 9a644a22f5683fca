"""Tests `make soak`: it checks the huge worlds, reports its progress, and stops on Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.model.mistakes import MISTAKES, made
from tests.model.walk import walk
from tests.model.world import digest_of
from tests.model.worlds import HUGE, SMALL


@contextmanager
def soaking(states: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs the program of `make soak` with at most `states` states of each world."""
    command = [sys.executable, "-m", "tests.model.soak"]
    environment = {**os.environ, "PYTHONPATH": "functions", "SOAK_STATES": str(states)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


def test_a_model_check_that_stores_only_hashes_finds_the_same_states_and_steps_as_an_exact_one() -> None:
    start = SMALL["a request that expires"]
    assert walk(start, key=digest_of) == walk(start)


def test_a_model_check_with_a_bounded_cache_finds_the_same_states_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    start = SMALL["a request that expires"]
    exact = walk(start)
    monkeypatch.setattr("tests.model.result_cache.MOST", 3)
    assert walk(start) == exact


def test_a_model_check_that_stores_only_hashes_prints_the_steps_that_lead_to_a_violation() -> None:
    start = SMALL["messages that come twice"]
    with made(MISTAKES["doubt does not settle before the next attempt"]) as core:
        found = walk(start, core=core, key=digest_of)
        assert found.wrong
        assert found == walk(start, core=core)


def test_the_soak_command_checks_every_huge_model_and_reports_which_ones_it_did_not_finish() -> None:
    with soaking(states=200) as run:
        output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    results = [line for line in output.splitlines() if line.endswith("every promise holds (cut at 200 states)")]
    assert {line.partition(":")[0] for line in results} == set(HUGE)


def test_ctrl_c_ends_the_soak_command_without_a_traceback() -> None:
    with soaking(states=10_000_000) as run:
        assert run.stdout
        assert "states" in run.stdout.readline()
        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=300)
    assert (run.returncode, "Traceback" in rest) == (130, False)
    assert rest.splitlines()[-1].startswith("interrupted after")
