"""Writes the results of `make simulate`, and the settings that follow from them, to `simulation.md` and `.svg`."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from assistance.routing import Channel
from assistance.store.schema import INDEX_SHARDS
from benchmarks import chart, quotas
from benchmarks.pipeline import Design, Report
from benchmarks.quotas import Work
from infra.batches import PARALLELIZATION_FACTOR, QUEUES, STREAM

MINUTE: Final = 60
HOUR: Final = 3_600
DESCRIPTION: Final = 150
"""The assumed length of a customer's question, in characters."""
LONG_DESCRIPTION: Final = 300
SLACK_RATE: Final = 20
SLACK: Final = QUEUES[Channel.SLACK]
PRICES: Final = {
    "API Gateway": 3.50, "Lambda, calls": 0.20, "Lambda, GB-seconds": 13.3334, "DynamoDB": 0.625, "SNS": 0.50,
    "SQS": 0.40, "SES": 100.0,
}  # fmt: skip
"""Dollars per million units in us-east-1, November 2026. docs/cost.md also has logs, storage and free tiers."""


@dataclass(frozen=True, slots=True)
class Day:
    """A simulated day, or some simulated hours."""

    name: str
    rate: float
    design: Design
    report: Report
    left: int
    """How many accepted requests have not ended at the end of the day."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A phase of `make load`, and what the simulation of the local stack predicts for it."""

    name: str
    measured: dict[str, float]
    alone: dict[str, float]
    """The figures predicted for a machine without other processes."""
    beside: dict[str, float]
    """The figures predicted for the CPU time that other processes of the machine left."""


@dataclass(frozen=True, slots=True)
class Results:
    """All results that simulation.md shows."""

    date: str
    load_date: str
    work: Work
    compared: Sequence[Compared]
    slack: Sequence[Day]
    days: Sequence[Day]


def drained_at(day: Day, channel: Channel, burst: float, after: float) -> float | None:
    """The seconds from `after` until the backlog was about as small as at `burst`; None if never. Both are times."""
    backlog = day.report.backlog[channel]
    before = max(50.0, 1.2 * next(count for at, count in backlog if at >= burst))
    points = [point for point in backlog if point[0] >= after]
    falling = (later[0] for earlier, later in pairwise(points) if earlier[1] > before >= later[1])
    return next((at - after for at in falling), None)


def write(directory: Path, results: Results) -> None:
    """Write simulation.md and its chart, simulation.svg."""
    (directory / "simulation.svg").write_text(chart.svg(_charts(results)), "utf-8")
    (directory / "simulation.md").write_text(_page(results), "utf-8")


def _charts(results: Results) -> list[chart.Chart]:
    def hours(day: Day, name: str, step: int) -> chart.Points:
        return [(at / HOUR, count) for at, count in day.report.backlog[name][::step]]

    return [
        chart.Chart(
            "Slack alone, 20 a second, and 60 in the second hour",
            "hours",
            "requests that wait",
            {day.name: hours(day, "slack", 2) for day in results.slack if "," not in day.name},
            log=True,
            floor=10,
        ),
        *(
            chart.Chart(
                f"A day at {day.name}",
                "hours",
                "requests that wait",
                {name: hours(day, name, 15) for name in ("bots", "outbox", "slack", "email")},
                log=True,
                floor=1,
                x_ticks=range(0, 25, 4),
            )
            for day in results.days
        ),
    ]


def _capacities(work: Work) -> list[tuple[float, str, str]]:
    """The requests a second that each part can handle with default quotas and settings, the smallest first.

    Each item is the number, the part, and the reason.
    """
    together = quotas.requests_per_message(DESCRIPTION)
    email = _two_batches(work, QUEUES[Channel.EMAIL].size, quotas.SES_SECONDS)
    slack = _two_batches(work, SLACK.size, quotas.SLACK_SECONDS)
    producer = _producer(work, PARALLELIZATION_FACTOR)
    found = [
        (2 * quotas.SLACK_POSTS, "Slack, each request alone", "one post a second in a channel"),
        (2 * quotas.SANDBOX_MAILS, "SES in the sandbox", "one mail a second; outside of it, SES grants a quota"),
        (2 * quotas.SLACK_POSTS * together, "Slack, in digests", f"{_posts(DESCRIPTION)} per post"),
        (quotas.THROTTLE_RATE, "the usage plan", "`throttle_rate`, for each key"),
        (2 * slack, "the Slack consumer", f"two batches of {SLACK.size} at once"),
        (2 * email, "the email consumer", "`consumer_max_concurrency`: two batches of ten at once"),
        (quotas.NEW_ACCOUNT_CONCURRENCY / work.accept_seconds, "a new account's Lambda", "ten API calls at once"),
        (quotas.NEW_TABLE_WRITES / quotas.WRITES, "a new table", "4,000 write units a second, four for each request"),
        (producer, "the producer on a new table",
         f"four shards, {PARALLELIZATION_FACTOR} batches of each at once, {STREAM.size} records in a batch"),
        (quotas.TABLE_WRITES / quotas.WRITES, "a table's quota", "40,000 write units a second"),
        (quotas.GATEWAY_RATE, "API Gateway's quota", "2,500 in some regions"),
        (quotas.index_rate(), "the outbox index", f"{INDEX_SHARDS} shards; the earlier eight handled 4,000"),
        (quotas.SNS_MESSAGES, "SNS's quota", "us-east-1; 300 in the smallest regions"),
        (quotas.LAMBDA_CONCURRENCY / work.accept_seconds, "an account's Lambda", "1,000 API calls at once"),
    ]  # fmt: skip
    return sorted(found)


def _page(results: Results) -> str:
    work = results.work
    head = ["requests a second", "part", "reason"]
    accept, record, deliver = work.accept_seconds, work.publish_record, work.deliver / quotas.VCPU
    return f"""# Scale, simulated

<!-- Written by: make simulate -->
{results.date}, with the CPU times that `make load` measured on {results.load_date}. `benchmarks/pipeline.py` is the
simulation (with simpy); `benchmarks/quotas.py` has the quotas, each with its source, and the assumptions. Half of the
requests go to Slack, half by email, with descriptions of {DESCRIPTION} characters. A function with 512 MB has
{quotas.VCPU:.2f} of a vCPU: accepting takes {1000 * accept:.0f} ms, publishing {1000 * record:.0f} ms per record,
delivering {1000 * deliver:.0f} ms per request plus the provider's time.

## What saturates first

The table shows how many requests a second each part can handle with the default quotas and settings. The last section
explains the settings.

{chart.table(head, [[f"{rate:,.0f}", *rest] for rate, *rest in _capacities(work)])}

At 1 request a second no part is saturated, but SES in the sandbox reaches its 200 mails a day after seven minutes. At
100 a second Slack is saturated, and SES must grant 50 mails a second. At 1,000 Slack is by far the narrowest part; but
nobody reads 500 requests a second in one channel. At 10,000 API Gateway and the table reach their quotas, and a new
table must be warmed up first.

## A day

From 9:00 to 9:10 the bots make three times as many calls, and from 12:00 to 13:00 Slack is down. The throttle, SES's
quota, `consumer_max_concurrency` for email and the table's warm throughput are raised to what the rate needs; the other
quotas are the defaults. *Waiting* counts the requests that have not ended at the end of the day.

{_days(results.days)}

{_costs(results.days)}

![Backlogs over time](simulation.svg)

An hour without Slack delays few requests: after six attempts, within minutes, they are delivered by email. A rate that
is too high for Slack is worse. Refusals count only after an hour of refusals, and of an attempt's delay at most 15
minutes count ([decision 0094](../docs/decisions/0094-rate-limit-hour.md)). In a long queue attempts are hours apart. So
at 100 a second and more, requests for one Slack channel wait for hours, and the fallback delivers few of them. Use more
Slack channels, or other routes. At 10,000 a second the rate alone uses up API Gateway's quota, so calls of the burst
are refused, and the bots repeat them until the rate falls.

## Slack at {SLACK_RATE} a second

This simulates four hours in which all requests go to Slack, with 60 a second for ten minutes after the first hour.
Slack accepts one post a second, and (our assumption) bursts of {quotas.SLACK_BURST}. An attempt claims the delivery, is
part of a post or is refused, and records the result: two writes.

{_slack(results.slack)}

- With one request per post, or digests of ten, the queue grows without end. With batches of {SLACK.size} it does not,
and
  the backlog of the burst disappears.
- A batch should have as many requests as fit into one post: {_posts(DESCRIPTION, LONG_DESCRIPTION)}.
  Larger batches are not faster, and Slack refuses them more often, because the rest of a batch needs a post of its own.
  Each request has a button to take it, and the customer's name, address, number and conversation. With descriptions of
  more than {_longest()} characters on average, {SLACK_RATE} requests a second are too many.
- Slack does not document how much fits into a post, nor how it counts; these figures use what others have measured. If
  Slack refuses a post as too long, its requests are posted separately, and the consumer's next posts are smaller.
- Refused requests go back to the queue, all for about equally long: Slack's `Retry-After` and up to five seconds. The
  next post takes them along. If the consumer instead waits for `Retry-After` itself, for at most five seconds, the rest
  of each batch gets a post of its own, and the queue grows without end. With four batches at once instead of two, Slack
  refuses more often, and the longest delays don't get shorter.
- If Slack accepted no bursts, the two consumers, which don't coordinate, would miss every fourth post: fewer than
  {SLACK_RATE} requests a second. Only a test with the real Slack can show whether it does.

## Comparison with the local stack

The simulation predicts each phase of `make load` from the first one: from the CPU time of each step, with eight calls
and two batches at once. Each cell shows three values: predicted for two cores without other processes, **measured**,
and predicted for the CPU time that other processes left. The last one assumes too little CPU time, because other
processes also yielded to ours. The simulation does not model the emulator's locks.

{_compared(results.compared)}

## The chosen settings

{_choices(work)}
"""


def _posts(*descriptions: int) -> str:
    return ", ".join(
        f"{quotas.requests_per_message(length)} requests of {length} characters" for length in descriptions
    )


def _choices(work: Work) -> str:
    batch = work.publish_overhead + STREAM.size * work.publish_record
    takes = {factor: f"{_producer(work, factor):,.0f}" for factor in (1, 3, PARALLELIZATION_FACTOR)}
    shards = f"{quotas.index_rate():,.0f}"
    mails = f"{_two_batches(work, QUEUES[Channel.EMAIL].size, quotas.SES_SECONDS):.0f}"
    return chart.table(
        ["setting", "value", "why"],
        [
            [
                "stream, batch size",
                str(STREAM.size),
                (
                    f"ten full calls to SNS; takes {batch:.1f} s of the function's 60 s. A larger batch is not faster, "
                    "because the time is proportional to the records"
                ),
            ],
            [
                "stream, batches of a shard at once",
                str(PARALLELIZATION_FACTOR),
                (
                    f"the four shards of a new table then handle {takes[PARALLELIZATION_FACTOR]} requests a second, "
                    "more than the 1,000 that its four partitions accept, and the same holds for more partitions; "
                    f"{takes[3]} with three batches, {takes[1]} with one. Ten would halve the batches of a quiet "
                    "stream, and could need 40 invocations at once, while a new account has ten"
                ),
            ],
            [
                "stream, window",
                f"{STREAM.window} s",
                (
                    "a window would save at most $3.35 a million ([cost](../docs/cost.md#what-the-options-change)), "
                    "only with small batches, and delay all requests"
                ),
            ],
            ["Slack, batch size", str(SLACK.size), "about as many requests as fit into one post"],
            ["Slack, window", f"{SLACK.window} s", "Lambda's minimum for batches of more than ten"],
            ["Slack, batches at once", "2", "Lambda's minimum; with more, Slack refuses more posts"],
            [
                "email, batches at once",
                "2",
                f"{mails} mails a second; `consumer_max_concurrency` raises it, together with SES's quota",
            ],
            [
                "shards of the indexes",
                str(INDEX_SHARDS),
                (
                    f"{shards} requests a second, more than API Gateway's 10,000, with room for uneven hashes; "
                    "eight shards handle 4,000. A sweep queries each shard: the sixteen additional ones, on two "
                    "indexes, cost $0.09 a month"
                ),
            ],
        ],
    )


def _two_batches(work: Work, size: int, answer: float) -> float:
    """The requests a second that two batches at once deliver. `answer`: seconds until the provider answers."""
    return 2 * size / (0.05 + size * work.deliver / quotas.VCPU + answer)


def _producer(work: Work, factor: int) -> float:
    return quotas.NEW_TABLE_PARTITIONS * work.publishers_rate / PARALLELIZATION_FACTOR * factor


def _longest() -> int:
    return max(length for length in range(4_000) if quotas.requests_per_message(length) >= SLACK_RATE)


def _days(days: Sequence[Day]) -> str:
    head = ["", "accepted", "bots waiting at most", "202 p99", "Slack p50", "Slack p99", "email p50", "email p99",
            "by fallback", "failed", "waiting"]  # fmt: skip
    rows = []
    for day in days:
        report = day.report
        rows.append(
            [
                day.name,
                f"{report.accepted:,}",
                f"{max(count for _, count in report.backlog['bots']):,.0f}",
                _time(report.accepting.quantile(0.99)),
                *(_time(report.delays[channel].quantile(q)) for channel in report.delays for q in (0.5, 0.99)),
                f"{report.by_fallback:,}",
                f"{report.failed:,}",
                f"{day.left:,}",
            ]
        )
    return chart.table(head, rows)


def _costs(days: Sequence[Day]) -> str:
    """A table with the dollars for the day, by service."""
    bills = [(day, _bill(day.report)) for day in days]
    rows = [
        [day.name, *(f"{dollars:,.2f}" for dollars in bill.values()), f"{sum(bill.values()):,.2f}",
         f"{1e6 * sum(bill.values()) / day.report.accepted:.2f}"]
        for day, bill in bills
    ]  # fmt: skip
    return chart.table(["dollars", *PRICES, "total", "per million requests"], rows)


def _bill(report: Report) -> dict[str, float]:
    counts = report.counts
    functions = ("api", "publish", *(channel.name for channel in report.delays))
    milliseconds = sum(counts[f"{name}_ms"] for name in functions)
    units = {
        "API Gateway": report.accepted,
        "Lambda, calls": counts["api"] + counts["publish"] + sum(counts[channel.name] for channel in report.delays),
        "Lambda, GB-seconds": milliseconds / 1000 / 2,
        "DynamoDB": counts["writes"],
        "SNS": counts["batches"],
        # SNS sends each message with one call; the consumer receives and deletes ten messages with one call.
        "SQS": (report.accepted + report.by_fallback) * (1 + 2 / 10),
        "SES": report.delivered[Channel.EMAIL],
    }
    return {name: PRICES[name] * count / 1e6 for name, count in units.items()}


def _slack(days: Sequence[Day]) -> str:
    head = ["", "delivered", "p50", "p99", "waiting at most", "at the end", "burst worked off after", "posts a second",
            "attempts per request", "by fallback"]  # fmt: skip
    rows = []
    for day in days:
        report, delays = day.report, day.report.delays[Channel.SLACK]
        drained = drained_at(day, Channel.SLACK, HOUR, HOUR + 600)
        waiting = [count for _, count in report.backlog["slack"]]
        alone = day.design.slack.together == 1
        posts = report.delivered[Channel.SLACK] if alone else report.counts["posts"]
        rows.append(
            [
                day.name,
                f"{report.delivered[Channel.SLACK]:,}",
                _time(delays.quantile(0.5)),
                _time(delays.quantile(0.99)),
                f"{max(waiting):,.0f}",
                f"{waiting[-1]:,.0f}",
                "never" if drained is None else _time(drained),
                f"{posts / report.backlog['slack'][-1][0]:.2f}",
                f"{report.counts['slack_attempts'] / report.accepted:.2f}",
                f"{report.by_fallback:,}",
            ]
        )
    return chart.table(head, rows)


def _compared(compared: Sequence[Compared]) -> str:
    names = list(compared[0].measured)
    rows = []
    for one in compared:
        row = [one.name]
        for name in names:
            alone, measured, beside = (
                f"{figures[name]:.1f}" if name == "a second" else _time(figures[name])
                for figures in (one.alone, one.measured, one.beside)
            )
            row.append(f"{alone} … **{measured}** … {beside}")
        rows.append(row)
    return chart.table(["", "delivered a second", *(f"{name} p50" for name in names[1:])], rows)


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 2 * MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"
