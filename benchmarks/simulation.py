"""`make simulate`: simulates days on AWS at up to 10,000 requests a second, and compares itself with `make load`."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Final

from assistance.routing import Channel
from benchmarks import quotas, simulation_page
from benchmarks.pipeline import OTHER, Design, Pipeline, Report, Sender
from benchmarks.quotas import Work
from benchmarks.simulation_page import DESCRIPTION, HOUR, LONG_DESCRIPTION, SLACK_RATE, Compared, Day
from infra.batches import PARALLELIZATION_FACTOR, QUEUES, STREAM

HERE: Final = Path(__file__).parent
RATES: Final = (1, 100, 1_000, 10_000)
BURST: Final = (9 * HOUR, 9 * HOUR + 600)
OUTAGE: Final = (12 * HOUR, 13 * HOUR)
UNLIMITED: Final = 1e9
CORES: Final = 2


def work_of(load: dict[str, Any]) -> Work:
    """The CPU time per request and per batch, from phases of `load.json` with small and with large batches."""
    phases = [phase for phase in load["phases"] if phase["kind"] == "rising"]

    def each(function: str, phases: Sequence[dict[str, Any]], share: float = 1) -> float:
        seconds = sum(float(phase["cpu"][function]) for phase in phases)
        return seconds / sum(int(phase["accepted"]) * share for phase in phases)

    large, small = each("stream_producer", phases[-2:]), each("stream_producer", phases[:1])
    deliver = (each("slack_consumer", phases, 0.5) + each("email_consumer", phases, 0.5)) / 2
    return Work(api=each("api", phases), publish=large, publish_batch=max(0.001, small - large), deliver=deliver)


def on_aws(work: Work, rate: float, *, slack: Sender | None = None, sales: float = 0.5) -> Design:
    """The deployed stack's parameters, with quotas raised to what the rate needs.

    `slack`: None means as deployed. `sales`: the share of the requests that go to Slack; the others go to email.
    """
    per_record = work.deliver / quotas.VCPU
    email = Sender(
        # The setting consumer_max_concurrency: as many batches at once as the burst needs.
        workers=max(2, round(3 * rate * (1 - sales) * (per_record + quotas.SES_SECONDS / 10) * 1.5)),
        batch=10,
        rate=max(1.0, 4 * rate),
        burst=max(10.0, 4 * rate),
        latency=quotas.SES_SECONDS,
        per_record=per_record,
    )
    partitions = max(
        quotas.NEW_TABLE_PARTITIONS,
        math.ceil(min(3 * rate * quotas.WRITES, quotas.TABLE_WRITES) / quotas.PARTITION_WRITES),
    )
    return Design(
        slack=slack or slack_sender(work),
        email=email,
        accept_rate=min(quotas.GATEWAY_RATE, quotas.index_rate(), quotas.TABLE_WRITES / quotas.WRITES),
        accept_burst=quotas.GATEWAY_BURST,
        accept_latency=work.accept_seconds,
        publishers=partitions * PARALLELIZATION_FACTOR,
        publish_batch=STREAM.size,
        publish_overhead=work.publish_overhead,
        publish_per_record=work.publish_record,
        sales=sales,
    )


def slack_sender(work: Work, **changes: Any) -> Sender:  # noqa: ANN401
    """The parameters of the Slack channel as deployed, except for these changes."""
    deployed = Sender(
        workers=2,
        batch=QUEUES[Channel.SLACK].size,
        window=QUEUES[Channel.SLACK].window,
        rate=quotas.SLACK_POSTS,
        burst=quotas.SLACK_BURST,
        latency=quotas.SLACK_SECONDS,
        together=quotas.requests_per_message(DESCRIPTION),
        per_record=work.deliver / quotas.VCPU,
    )
    return replace(deployed, **changes)


def simulate(name: str, rate: float, design: Design, hours: float, load: Callable[[float], float]) -> Day:
    """Simulate so many hours, check that no request was lost or appeared, and print how long it took.

    `name`: for the page. `rate`: calls a second outside the burst. `load`: the calls a second, by the seconds since the
    beginning.
    """
    started = monotonic()
    pipeline = Pipeline(design, load)
    report = pipeline.run(hours * HOUR)
    ended = report.delivered.total() + report.failed
    if report.accepted != ended + pipeline.waiting or report.arrived != report.accepted + pipeline.bots.size:
        raise AssertionError(f"{name}: requests have appeared or disappeared")
    print(f"{name}: {report.arrived:,} requests in {monotonic() - started:.1f} s", flush=True)
    return Day(name, rate, design, report, pipeline.waiting)


def days(work: Work, rates: Sequence[int] = RATES, hours: float = 24) -> list[Day]:
    """Simulate a day at each rate, with three times as many calls for ten minutes, and Slack down for an hour."""
    found = []
    for rate in rates:
        design = on_aws(work, rate, slack=slack_sender(work, outage=OUTAGE))
        load = _with_burst(rate, BURST)
        found.append(simulate(f"{rate:,} a second", rate, design, hours, load))
    return found


def slack_study(work: Work, hours: float = 4, most: int | None = None) -> list[Day]:
    """Simulate Slack with various settings for four hours: 20 requests a second, 60 for ten minutes in the second hour.

    `most`: simulate only so many of the variants; None means all.
    """
    long = {"together": quotas.requests_per_message(LONG_DESCRIPTION)}
    chosen = f"batches of {QUEUES[Channel.SLACK].size}"
    variants: dict[str, dict[str, Any]] = {
        "each alone": {"batch": 10, "window": 0, "together": 1},
        "batches of 10": {"batch": 10, "window": 0},
        chosen: {},
        "batches of 50": {"batch": 50},
        "batches of 100": {"batch": 100},
        f"{chosen}, four at once": {"workers": 4},
        f"{chosen}, waiting in place": {"patience": 5},
        f"{chosen}, no bursts at Slack": {"burst": 1},
        f"{chosen}, {LONG_DESCRIPTION} characters": long,
        f"batches of 50, {LONG_DESCRIPTION} characters": {**long, "batch": 50},
    }
    found = []
    for name, changes in islice(variants.items(), most):
        design = on_aws(work, SLACK_RATE, slack=slack_sender(work, **changes), sales=1)
        found.append(simulate(name, SLACK_RATE, design, hours, _with_burst(SLACK_RATE, (HOUR, HOUR + 600))))
    return found


def _with_burst(rate: float, burst: tuple[float, float]) -> Callable[[float], float]:
    return lambda at: rate * (3 if burst[0] <= at < burst[1] else 1)


def calibrate(load: dict[str, Any]) -> list[Compared]:
    """Predict every phase of `make load` from the CPU times of the first phase, in which the machine is not busy."""
    phases = [phase for phase in load["phases"] if phase["kind"] in {"rising", "slow"}]
    calm = phases[0]
    cpu = {name: seconds / calm["accepted"] for name, seconds in calm["cpu"].items()}
    ours = {name: cpu[name] for name in ("api", "stream_producer", "slack_consumer", "email_consumer")}
    # The emulator's and the bots' CPU time is distributed among the functions in proportion to their own.
    together = sum(cpu.values()) / sum(ours.values())
    found = []
    for phase in phases:
        reports = []
        for cores in (CORES, max(0.2, CORES - phase["others"])):
            # Fewer cores are simulated as more CPU time for the same work.
            factor = together * CORES / cores
            sender = Sender(
                workers=2, batch=10, rate=UNLIMITED, burst=UNLIMITED, latency=2 if phase["kind"] == "slow" else 0.005,
                pollers=2, overhead=0, per_record=2 * ours["slack_consumer"] * factor,
            )  # fmt: skip
            accept = ours["api"] * factor
            design = Design(
                slack=sender,
                email=replace(sender, latency=0.005, per_record=2 * ours["email_consumer"] * factor),
                accept_rate=UNLIMITED, accept_burst=UNLIMITED, accept_workers=8, accept_work=accept,
                accept_latency=max(0, calm["accept"]["p50"] - ours["api"] * together),
                publishers=1, publish_batch=STREAM.size, publish_overhead=0,
                publish_per_record=ours["stream_producer"] * factor,
                stream_delay=0, queue_delay=0, tick=1 / phase["rate"], cores=CORES,
            )  # fmt: skip
            reports.append(_figures(_sent(design, phase["rate"], phase["calls"])))
        measured = {
            "a second": phase["delivered_per_second"],
            "202": phase["accept"]["p50"],
            **{str(channel): phase["delivered"][channel]["p50"] for channel in OTHER},
        }
        found.append(Compared(phase["name"], measured, *reports))
    return found


def _figures(report: Report) -> dict[str, float]:
    return {
        "a second": report.delivered.total() / report.last_delivery,
        "202": report.accepting.quantile(0.5),
        **{str(channel): report.delays[channel].quantile(0.5) for channel in OTHER},
    }


def _sent(design: Design, rate: float, calls: int) -> Report:
    end = (calls - 0.5) / rate
    pipeline = Pipeline(design, lambda at: rate if at < end else 0, sample=0)
    return pipeline.run(end + 300)


def main() -> int:
    """Simulate, and write the page. The result is the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE, help="for simulation.md and simulation.svg")
    options = parser.parse_args()
    load = json.loads((HERE / "load.json").read_text("utf-8"))
    work = work_of(load)
    started = monotonic()
    results = simulation_page.Results(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        load_date=load["date"],
        work=work,
        compared=calibrate(load),
        slack=slack_study(work),
        days=days(work),
    )
    options.output.mkdir(parents=True, exist_ok=True)
    simulation_page.write(options.output, results)
    print(f"Written in {monotonic() - started:.0f} s: {options.output / 'simulation.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
