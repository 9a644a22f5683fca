"""Writes the results of `make load` to `load.md`, `load.svg` and `load.json`."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks import chart
from benchmarks.processes import BOTS, EMULATOR

Figures: TypeAlias = Mapping[str, Any]
CHANNELS: Final = ("slack", "email")
QUANTILES: Final = ("p50", "p99")


def write(directory: Path, results: Figures) -> None:
    """Write load.md, its chart load.svg, and load.json, the figures with which `make simulate` compares itself."""
    (directory / "load.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (directory / "load.svg").write_text(chart.svg(_charts(_rising(results))), "utf-8")
    (directory / "load.md").write_text(_page(results), "utf-8")


def _rising(results: Figures) -> list[Figures]:
    return [phase for phase in results["phases"] if phase["kind"] == "rising"]


def _charts(phases: Sequence[Figures]) -> list[chart.Chart]:
    offered = "calls a second"
    return [
        chart.Chart(
            "Throughput",
            offered,
            "a second",
            {
                name: [(phase["rate"], phase[f"{name}_per_second"]) for phase in phases]
                for name in ("accepted", "delivered")
            },
        ),
        chart.Chart(
            "Accepting",
            offered,
            "seconds until the 202",
            {name: [(phase["rate"], phase["accept"][name]) for phase in phases] for name in QUANTILES},
            log=True,
        ),
        chart.Chart(
            "Delivering",
            offered,
            "seconds until delivered",
            {
                f"{channel} {name}": [(phase["rate"], phase["delivered"][channel][name]) for phase in phases]
                for channel in CHANNELS
                for name in QUANTILES
            },
            log=True,
        ),
    ]


def _page(results: Figures) -> str:
    one = {phase["kind"]: phase for phase in results["phases"]}
    before, slow, after = one["before"], one["slow"], one["after"]
    ratio = {name: slow["accept"][name] / ((before["accept"][name] + after["accept"][name]) / 2) for name in QUANTILES}
    email = slow["delivered"]["email"]["p50"] / before["delivered"]["email"]["p50"]
    ended = sum((Counter(phase["ended"]) for phase in results["phases"]), Counter[str]())
    cpu = sum((Counter(phase["cpu"]) for phase in results["phases"]), Counter[str]())
    shares = {name: f"{seconds / sum(cpu.values()):.0%}" for name, seconds in cpu.items()}
    ours = f"{sum(cpu[name] for name in cpu.keys() - {EMULATOR, BOTS}) / sum(cpu.values()):.0%}"
    return f"""# Load, on one machine

<!-- Written by: make load -->
{results["date"]}, on {results["machine"]}.
The load average before the start was {results["load_average"]:.1f}; the last column says how many cores other processes
of the machine kept busy.

The load is open: each call is due at a fixed time, even if earlier calls are still unanswered, and its latency counts
from that time, so that it includes waiting. In the phase with "connections" the load is closed: so many bots call
without a pause, each as soon as it has its answer. Half of the calls have the topic `sales` (Slack), half `pricing`
(email). The delivery times count from when the call was due to the write that records the delivery. Everything runs on
this one machine: the bots, which open a connection for each call; MiniStack instead of AWS; the functions, in processes
of MiniStack; and a local server instead of Slack, which has no rate limit.

![Throughput, and the latency of accepting and of delivering](load.svg)

{_phases(results["phases"])}

**Nothing was lost.** {sum(ended.values())} requests were answered 202: {_list(ended)}.
No request was posted to Slack twice. If one were lost or posted twice, the run would fail.

**A slow channel does not slow accepting.** While Slack was slow, the median time until the 202 was {ratio["p50"]:.2f}
times the one just before and after, and the 99th percentile {ratio["p99"]:.2f} times (of {slow["calls"]} calls). Mails
took {email:.2f} times as long as before.

## Where the time goes

The table shows CPU time in milliseconds per accepted request. A function's line covers all its processes: our code,
botocore, Powertools, and a few lines of the emulator around the handler.

{_cpu(_rising(results))}

The time of one accepted call, at {_rising(results)[0]["rate"]:g} calls a second:

{_accepting(_rising(results)[0])}

Of the run's CPU time, the emulator used {shares[EMULATOR]}, and the bots and the local Slack server {shares[BOTS]}; on
AWS we don't pay for either. The rest, {ours}, is what Lambda would run.

For scale, one run against another answer to this challenge (vlazaroes/landbot-interview: FastAPI, RabbitMQ, no
durable write), in turns on one machine of 2 cores on 2026-11-27, at 16 connections: it accepted 156 calls a second and
delivered at a median of 99 ms; ours accepted 61 and delivered at 2.4 s, since each call goes through an emulated
gateway and into an emulated table before the 202. Of 20 requests during 15 s of 503s from Slack it delivered none, ours
all 20, none twice. With their workers killed, it delivered 4 of 20, ours 20.
"""


def _phases(phases: Sequence[Figures]) -> str:
    head = ["phase", "accepted", "a second", "delivered a second", "202 p50", "202 p99"]
    head += [f"{channel} {name}" for channel in CHANNELS for name in QUANTILES] + ["others' cores"]
    return chart.table(
        head,
        [
            [
                phase["name"],
                f"{phase['accepted']} of {phase['calls']}",
                f"{phase['accepted_per_second']:.1f}",
                f"{phase['delivered_per_second']:.1f}",
                *(f"{1000 * phase['accept'][name]:,.0f} ms" for name in QUANTILES),
                *(f"{phase['delivered'][channel][name]:.2f} s" for channel in CHANNELS for name in QUANTILES),
                f"{phase['others']:.1f}",
            ]
            for phase in phases
        ],
    )


def _cpu(phases: Sequence[Figures]) -> str:
    names = sorted({name for phase in phases for name in phase["cpu"]}, key=lambda one: (one in (EMULATOR, BOTS), one))
    rows = [[name, *(_milliseconds(phase["cpu"].get(name, 0), phase) for phase in phases)] for name in names]
    rows.append(["**total**", *(_milliseconds(sum(phase["cpu"].values()), phase) for phase in phases)])
    return chart.table(["", *(phase["name"] for phase in phases)], rows)


def _milliseconds(seconds: float, phase: Figures) -> str:
    return f"{1000 * seconds / max(1, phase['accepted']):.1f}"


def _accepting(phase: Figures) -> str:
    latency, inside = 1000 * phase["accept"]["p50"], 1000 * phase["durations_p50"]["api"]
    computing = 1000 * phase["cpu"]["api"] / max(1, phase["invocations"]["api"])
    return chart.table(
        ["where", "ms"],
        [
            ["the call as the bot sees it, median", f"{latency:.0f}"],
            ["before and after the invocation: connecting, and the emulated API Gateway", f"{latency - inside:.0f}"],
            ["in the invocation, waiting: the emulated DynamoDB, the pipe to the process", f"{inside - computing:.0f}"],
            ["in the invocation, computing: our code and botocore, on average", f"{computing:.0f}"],
        ],
    )


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} were {name}" for name, number in sorted(counts.items()))
