"""Tests the simulation: it neither loses nor duplicates requests, and keeps the providers' rate limits."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from assistance.routing import Channel
from assistance.slack.message import digests
from benchmarks import quotas, simulation, simulation_page
from benchmarks.pipeline import LATE_SECONDS, Cohort, Design, Pipeline, Sender, _Channel
from benchmarks.simulation_page import Results
from infra.config import Config
from tests.sample_requests import ANNA, request, to_send

SLACK = Sender(workers=2, batch=25, window=1, rate=1, burst=3, latency=0.3, together=20)
EMAIL = Sender(workers=2, batch=10, rate=5, burst=5, latency=0.1)
DESIGN = Design(
    slack=SLACK, email=EMAIL, accept_rate=30, accept_burst=30, accept_latency=0.02,
    publishers=20, publish_batch=100, publish_overhead=0.05, publish_per_record=0.02,
)  # fmt: skip
DESIGNS = {
    "digests": DESIGN,
    "each alone": replace(DESIGN, slack=replace(SLACK, together=1)),
    "waiting in place": replace(DESIGN, slack=replace(SLACK, patience=5)),
    "Slack away": replace(DESIGN, slack=replace(SLACK, outage=(60, 300))),
    "one machine": replace(DESIGN, accept_workers=2, accept_work=0.01, cores=2),
}


def burst(at: float) -> float:
    return 0 if at > 150 else 40 if 60 <= at < 90 else 4


@pytest.mark.parametrize("name", DESIGNS)
def test_the_simulation_neither_loses_nor_duplicates_requests(name: str) -> None:
    pipeline = Pipeline(DESIGNS[name], burst)
    report = pipeline.run(400)
    assert report.arrived == 60 * 4 + 30 * 40 + 61 * 4
    assert report.arrived == report.accepted + pipeline.bots.size
    assert report.accepted == report.delivered.total() + report.failed + pipeline.waiting
    assert report.delivered.total() > 0


def test_no_simulated_provider_gets_more_calls_than_its_rate_limit_allows() -> None:
    report = Pipeline(DESIGN, burst).run(200)
    assert report.counts["posts"] <= 200 * SLACK.rate + SLACK.burst
    assert report.delivered[Channel.EMAIL] <= 200 * EMAIL.rate + EMAIL.burst


def test_digests_reduce_a_simulated_backlog_that_single_messages_cannot_reduce() -> None:
    alone = Pipeline(DESIGNS["each alone"], burst)
    digests = Pipeline(DESIGNS["waiting in place"], burst)
    for pipeline in (alone, digests):
        pipeline.run(400)
    assert digests.channels[Channel.SLACK].waiting == 0
    assert alone.channels[Channel.SLACK].waiting > 100


class Spied(Pipeline):
    """A simulation that records each delay before another attempt in Slack: the cohort and the seconds."""

    def __init__(self, design: Design) -> None:
        super().__init__(design, burst)
        self.delays: list[tuple[Cohort, float]] = []

    def _requeue(self, channel: _Channel, cohort: Cohort, delay: float) -> None:
        if channel.name is Channel.SLACK:
            self.delays.append((replace(cohort), delay))
        super()._requeue(channel, cohort, delay)


def test_a_simulated_rate_limit_delays_requests_for_digests_equally_and_single_requests_longer_each_time() -> None:
    digests, alone = (Spied(DESIGNS[name]) for name in ("digests", "each alone"))
    for pipeline in (digests, alone):
        pipeline.run(400)
    # As the deployed consumer does: docs/decisions/0047-digests.md.
    longest = SLACK.retry_after + DESIGN.retry.ceiling(1)
    assert max(cohort.receives for cohort, _ in digests.delays) > 3
    assert max(delay for _, delay in digests.delays) <= longest < max(delay for _, delay in alone.delays)


@pytest.mark.parametrize(("late", "by_fallback"), [(LATE_SECONDS + 3_500, 1), (LATE_SECONDS + 3_700, 0)])
def test_in_the_simulation_at_most_15_minutes_of_an_attempts_lateness_count_towards_a_rate_limits_hour(
    late: float, by_fallback: int
) -> None:
    pipeline = Pipeline(replace(DESIGN, slack=replace(SLACK, rate=0, burst=1)), lambda _: 0)
    slack = pipeline.channels[Channel.SLACK]
    slack.bucket.take(1, 0)
    last = Cohort(0, 1, Channel.SLACK, attempts=DESIGN.retry.attempts - 1, due=-late, limited_since=-7_200)
    for _ in pipeline._attempt(slack, [last], 1):  # noqa: SLF001
        pass
    assert (pipeline.moving, slack.hidden) == (by_fallback, 1 - by_fallback)


def test_the_simulation_is_deterministic() -> None:
    assert Pipeline(DESIGN, burst).run(100).counts == Pipeline(DESIGN, burst).run(100).counts


@pytest.mark.parametrize("characters", [150, 300])
def test_a_simulated_digest_contains_as_many_requests_as_a_real_digest(characters: int) -> None:
    said = {"customer": ANNA, "conversation_url": "https://app.example.com/conversations/42"}
    asked = [to_send(request("x" * characters, str(UUID(int=n)), **said)) for n in range(60)]
    first, *_ = digests(asked, datetime(2026, 1, 1, tzinfo=UTC), take=True)
    assert len(first) == quotas.requests_per_message(characters)


def test_the_generated_page_about_the_simulation_shows_the_results_of_a_simulated_hour(tmp_path: Path) -> None:
    load = json.loads((simulation.HERE / "load.json").read_text("utf-8"))
    work = simulation.work_of(load)
    days, slack = simulation.days(work, rates=(1,), hours=1), simulation.slack_study(work, hours=1.05, most=1)
    compared = simulation.calibrate(load)
    simulation_page.write(tmp_path, Results("2026-11-27", load["date"], work, compared, slack, days))
    page = (tmp_path / "simulation.md").read_text("utf-8")
    names = [*(one.name for one in (*days, *slack)), *(one.name for one in compared)]
    assert [name for name in names if name not in page] == []
    assert days[0].report.accepted == 3_600
    assert (tmp_path / "simulation.svg").stat().st_size


def test_the_page_about_the_simulation_was_written_with_the_last_measured_load() -> None:
    load = json.loads((simulation.HERE / "load.json").read_text("utf-8"))
    page = (simulation.HERE / "simulation.md").read_text("utf-8")
    assert f"`make load` measured on {load['date']}" in page, "run: make simulate"


def test_the_pages_state_the_saving_of_a_batch_window_as_the_cost_page_computes_it() -> None:
    root = simulation.HERE.parent
    [saved] = re.findall(r"gathers 100 \| -(\S+) \|", (root / "docs/cost.md").read_text("utf-8"))
    for page in ("benchmarks/simulation.md", "docs/decisions/0057-sized-by-simulation.md"):
        assert f"at most ${saved} a million" in (root / page).read_text("utf-8")


def test_the_simulated_api_throttle_equals_the_deployed_api_throttle() -> None:
    assert Config().throttle_rate == quotas.THROTTLE_RATE
