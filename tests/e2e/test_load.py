"""Tests `make load` with a small load: each of its phases makes a few calls to the running stack."""

from pathlib import Path

import psutil

from benchmarks import load_page
from benchmarks.load import Load, lost, measure, results
from tests.e2e.bot import Bot


def test_the_load_benchmark_measures_a_small_load_and_no_request_is_lost(bot: Bot, tmp_path: Path) -> None:
    load = Load(bot.as_runner(tmp_path), print, look_seconds=0.1)
    phases = measure(load, rates=[5], seconds=0.6, connections=2)
    outcomes = load.outcomes()
    assert lost(phases, outcomes, load.arrived(), load.dead_letters()) == []
    assert all(phase.accepted == phase.calls != [] for phase in phases)
    load_page.write(tmp_path, results(phases, outcomes, psutil.getloadavg()[0]))
    assert "| 2 connections |" in (tmp_path / "load.md").read_text("utf-8")
