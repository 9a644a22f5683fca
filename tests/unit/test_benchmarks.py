"""Tests that `make bench`, `make growth` and `make load` measure what they claim to measure."""

import json
import subprocess
import sys
from pathlib import Path

from assistance.domain import transitions
from assistance.domain.record import Record
from benchmarks import load_page
from benchmarks.load import HERE as BENCHMARKS
from benchmarks.load import OPEN, Outcome, outcome_of
from local.deploy import ROOT

EACH_ONCE = """
from contextlib import redirect_stdout
from benchmarks import fake_services, growth, warm
fake_services._IDS = fake_services._IDS[:30]
with warm.no_network(), redirect_stdout(warm.Discard()):
    invocations = warm.invocations()
    done = {name: invocation.ours(invocation.event()) for name, invocation in invocations.items()}
swept = done.pop("sweep 1,000")
print(swept.published, swept.failed, *(each.get("statusCode", each.get("batchItemFailures")) for each in done.values()))
assert warm.section(rounds=1).count("**ours**") == len(invocations)
# Raises if an invocation does not do all the work of its size, or does more.
grown = growth.measured(rounds=1, doublings=1, divisor=25)
assert growth.page(grown, 1).count("time of half as many") == len(grown)
assert growth.svg(growth.charts(grown)).count('fill="none"') == len(grown)
"""


IMPORTED_BEFORE = """
from benchmarks import events, warm
events.take()
with warm.no_network():
    pass
"""


def run(program: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python program in a separate process, since the benchmark replaces AWS and the settings for it."""
    command = [sys.executable, "-W", "ignore", "-c", program]
    environment = {"PYTHONPATH": "functions"}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_every_invocation_measured_by_the_benchmark_succeeds() -> None:
    done = run(EACH_ONCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["30", "0", "202", "200", "[]", "[]", "[]", "200", "200"]


def test_the_benchmark_measures_no_aws_client_that_validates_its_parameters() -> None:
    done = run(IMPORTED_BEFORE)
    assert done.returncode == 1
    assert "assistance.platform.aws was imported before" in done.stderr


def test_the_generated_page_about_load_shows_the_measured_values(tmp_path: Path) -> None:
    load_page.write(tmp_path, json.loads((BENCHMARKS / "load.json").read_text("utf-8")))
    for name in ("load.md", "load.svg"):
        assert (tmp_path / name).read_text("utf-8") == (BENCHMARKS / name).read_text("utf-8")


def test_the_load_benchmark_counts_a_request_for_the_channel_that_delivered_it() -> None:
    record = transitions.first(Record("sales", 0, 9, ("slack",), "email"))
    assert outcome_of(record) == OPEN
    record, _ = transitions.claim(record, "slack", "first", now=1_000, until=2_000, limit=1)
    record = transitions.gave_up(record, "slack", "first", "is_archived", now=2_000, in_doubt=False, settles=0)
    assert outcome_of(record) == OPEN
    record, _ = transitions.claim(record, "fallback", "second", now=3_000, until=9_000, limit=1)
    record = transitions.sent(record, "fallback", "second", "a mail", now=4_500)
    assert outcome_of(record) == Outcome("delivered", "email", 4.5)
