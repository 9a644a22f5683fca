"""Tests `make load` with a small load: each of its phases makes a few calls to the running stack."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil

from benchmarks import load_page
from benchmarks.load import Load, lost, measure, results
from local.cloud import Cloud
from local.stack import Stack
from tests.e2e.bot import Bot


class SlackBeyond:
    """The local Slack server, which runs in another process."""

    def __init__(self, bot: Bot) -> None:
        self.fail = bot.fault
        self._bot = bot

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self._bot.everything_on_slack()


def test_the_load_benchmark_measures_a_small_load_and_no_request_is_lost(bot: Bot, tmp_path: Path) -> None:
    document = bot.stack
    cloud = Cloud(document["aws_endpoint_url"], document["credentials"], cast(Any, None), tmp_path)
    slack: Any = SimpleNamespace(server=SlackBeyond(bot))
    stack = Stack(
        document["stack_name"], document["api_url"], document["api_key"], bot.outputs, cloud, slack, cast(Any, None)
    )
    load = Load(stack, print, look_seconds=0.1)
    phases = measure(load, rates=[5], seconds=0.6, connections=2)
    outcomes = load.outcomes()
    assert lost(phases, outcomes, load.arrived(), load.dead_letters()) == []
    assert all(phase.accepted == phase.calls != [] for phase in phases)
    load_page.write(tmp_path, results(phases, outcomes, psutil.getloadavg()[0]))
    assert "| 2 connections |" in (tmp_path / "load.md").read_text("utf-8")
