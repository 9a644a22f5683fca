"""`load.md`, `load.svg` and `load.json`: what `make load` has measured."""

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
    """The page, its chart, and the figures for the simulation to be held against."""
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
The load average before the start was {results["load_average"]:.1f}; the last column says how many of the cores
others kept busy.

The load is open: each call is due at its time, however many are still unanswered, and its latency counts from then,
so that it includes what waits. Where the table says "connections" it is closed: so many bots call without a pause, each
as soon as it has its answer. Half of the calls are `sales` (Slack), half `pricing` (email). Delivered is counted from
when the call was due to the write that records the delivery. Everything is on this one machine: the bots, which open a
connection for each call, MiniStack in the place of AWS, the functions in worker processes of MiniStack's, and a
stand-in for Slack, which has no limit on its rate.

![Throughput, and the latency of accepting and of delivering](load.svg)

{_phases(results["phases"])}

**Nothing was lost.** {sum(ended.values())} requests were answered 202: {_list(ended)}.
None was posted to Slack twice. The run fails otherwise.

**A slow channel does not slow accepting.** While Slack took its time, the 202 took {ratio["p50"]:.2f} times as long
at the median as just before and after, and {ratio["p99"]:.2f} times at the 99th percentile (of {slow["calls"]} calls).
Mails took {email:.2f} times as long as before.

## Where the time goes

The CPU's milliseconds for each accepted request. A function's line is all of its worker processes: our code, botocore,
Powertools, and the emulator's few lines around the handler.

{_cpu(_rising(results))}

One accepted call, at {_rising(results)[0]["rate"]:g} a second:

{_accepting(_rising(results)[0])}

Of all the CPU time of the run, {shares[EMULATOR]} was the emulator's and {shares[BOTS]} the bots' and the stand-in's,
which on AWS is not ours to spend. The rest, {ours}, is what Lambda would run.

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
    rows.append(["**in all**", *(_milliseconds(sum(phase["cpu"].values()), phase) for phase in phases)])
    return chart.table(["", *(phase["name"] for phase in phases)], rows)


def _milliseconds(seconds: float, phase: Figures) -> str:
    return f"{1000 * seconds / max(1, phase['accepted']):.1f}"


def _accepting(phase: Figures) -> str:
    latency, inside = 1000 * phase["accept"]["p50"], 1000 * phase["durations_p50"]["api"]
    computing = 1000 * phase["cpu"]["api"] / max(1, phase["invocations"]["api"])
    return chart.table(
        ["where", "ms"],
        [
            ["as the bot sees it, at the median", f"{latency:.0f}"],
            ["before and after the invocation: connecting, and the emulated API Gateway", f"{latency - inside:.0f}"],
            ["in it, not computing: the emulated DynamoDB, the pipe to the worker", f"{inside - computing:.0f}"],
            ["in it, computing: our code and botocore, on average", f"{computing:.0f}"],
        ],
    )


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} were {name}" for name, number in sorted(counts.items()))
