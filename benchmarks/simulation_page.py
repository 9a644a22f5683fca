"""`simulation.md` and `simulation.svg`: what `make simulate` has found, and what is chosen because of it."""

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
"""Characters of a customer's question."""
LONG_DESCRIPTION: Final = 300
SLACK_RATE: Final = 20
SLACK: Final = QUEUES[Channel.SLACK]
PRICES: Final = {
    "API Gateway": 3.50, "Lambda, calls": 0.20, "Lambda, GB-seconds": 13.3334, "DynamoDB": 0.625, "SNS": 0.50,
    "SQS": 0.40, "SES": 100.0,
}  # fmt: skip
"""Dollars a million, us-east-1, November 2026. Without logs, storage and free tiers; docs/cost.md has it all."""


@dataclass(frozen=True, slots=True)
class Day:
    """One simulated day."""

    name: str
    rate: float
    design: Design
    report: Report
    left: int
    """How many have been accepted and have not ended when it is over."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A phase of `make load`, and what the simulation of the local stack predicts for it."""

    name: str
    measured: dict[str, float]
    alone: dict[str, float]
    """Predicted for a machine that has nothing else to do."""
    beside: dict[str, float]
    """Predicted for what others left of it."""


@dataclass(frozen=True, slots=True)
class Results:
    """All that the page shows."""

    date: str
    load_date: str
    work: Work
    compared: Sequence[Compared]
    slack: Sequence[Day]
    days: Sequence[Day]


def drained_at(day: Day, channel: Channel, burst: float, after: float) -> float | None:
    """How many seconds after that time the channel's backlog was about what it had been before the burst."""
    backlog = day.report.backlog[channel]
    before = max(50.0, 1.2 * next(count for at, count in backlog if at >= burst))
    points = [point for point in backlog if point[0] >= after]
    falling = (later[0] for earlier, later in pairwise(points) if earlier[1] > before >= later[1])
    return next((at - after for at in falling), None)


def write(directory: Path, results: Results) -> None:
    """The page and its chart."""
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
    """Requests a second that each part takes before anything is raised, the smallest first."""
    together = quotas.together(DESCRIPTION)
    email = _two_batches(work, QUEUES[Channel.EMAIL].size, quotas.SES_SECONDS)
    slack = _two_batches(work, SLACK.size, quotas.SLACK_SECONDS)
    producer = _producer(work, PARALLELIZATION_FACTOR)
    found = [
        (2 * quotas.SLACK_POSTS, "Slack, each request alone", "one post a second in a channel"),
        (2 * quotas.SANDBOX_MAILS, "SES in the sandbox", "one mail a second; after that as granted"),
        (2 * quotas.SLACK_POSTS * together, "Slack, in digests", f"{_posts(DESCRIPTION)} a post"),
        (quotas.THROTTLE_RATE, "the usage plan", "`throttle_rate`, for each key"),
        (2 * slack, "the Slack consumer", f"two batches of {SLACK.size} at once"),
        (2 * email, "the email consumer", "`consumer_max_concurrency`: two batches of ten at once"),
        (quotas.NEW_ACCOUNT_CONCURRENCY / work.accept_seconds, "a new account's Lambda", "ten at once, the API alone"),
        (quotas.NEW_TABLE_WRITES / quotas.WRITES, "a new table", "4,000 write units a second, four for each request"),
        (producer, "the producer on a new table",
         f"four shards, {PARALLELIZATION_FACTOR} batches of each, {STREAM.size} records in a batch"),
        (quotas.TABLE_WRITES / quotas.WRITES, "a table's quota", "40,000 write units a second"),
        (quotas.GATEWAY_RATE, "API Gateway's quota", "2,500 in some regions"),
        (quotas.index_rate(), "the outbox index", f"{INDEX_SHARDS} shards; the eight of before took 4,000"),
        (quotas.SNS_MESSAGES, "SNS's quota", "us-east-1; 300 in the smallest regions"),
        (quotas.LAMBDA_CONCURRENCY / work.accept_seconds, "an account's Lambda", "1,000 at once, for the API alone"),
    ]  # fmt: skip
    return sorted(found)


def _page(results: Results) -> str:
    work = results.work
    head = ["requests a second", "limit", "because"]
    accept, record, deliver = work.accept_seconds, work.publish_record, work.deliver / quotas.VCPU
    return f"""# Scale, simulated

<!-- Written by: make simulate -->
{results.date}, with the CPU times that `make load` measured on {results.load_date}. The simulation is
`benchmarks/pipeline.py` (simpy); the quotas, each with its page, and what is assumed, are in `benchmarks/quotas.py`.
Half of the requests go to Slack, half by email, with descriptions of {DESCRIPTION} characters. A function of 512 MB has
{quotas.VCPU:.2f} of a vCPU: accepting takes {1000 * accept:.0f} ms, publishing {1000 * record:.0f} ms a record,
delivering {1000 * deliver:.0f} ms a request besides its provider's time.

## What saturates first

Before anything is raised. What is ours to choose is in the last section.

{chart.table(head, [[f"{rate:,.0f}", *rest] for rate, *rest in _capacities(work)])}

So at 1 a second nothing does, but SES in the sandbox has its 200 mails of a day after seven minutes. At 100 it is
Slack, and SES has to grant 50 mails a second. At 1,000 it is Slack by far: nobody reads 500 requests a second in one
channel. At 10,000 API Gateway and the table are at their quotas, and a new table has to be warmed first.

## A day

With three times as many calls from 9:00 to 9:10, and Slack away from 12:00 to 13:00. The throttle, SES's quota,
`consumer_max_concurrency` for email and the table's warm throughput are raised to what the rate needs; the other
quotas are as they come. Waiting is what has not ended when the day is over.

{_days(results.days)}

{_costs(results.days)}

![Backlogs over time](simulation.svg)

An hour without Slack leaves little behind: after six attempts, within minutes, requests come by email. A rate that is
too high is something else. In a long queue a request's turn comes rarely, and only what has been turned away six times
after an hour comes by its fallback: at 100 a second and more what is meant for one Slack channel waits for hours. It
takes more channels, or other routes. At 10,000 a second nothing is left of API Gateway's quota, so the calls of the
burst are refused and repeated until the rate falls.

## Slack at {SLACK_RATE} a second

Four hours of Slack alone, with 60 a second for ten minutes after the first. Slack takes one post a second, and bursts
of {quotas.SLACK_BURST}, which is our assumption. An attempt is a claim, a place in a post or none, and a record of it:
two writes.

{_slack(results.slack)}

- Alone, or in digests of ten, requests wait without end. In batches of {SLACK.size} they don't, and the burst's backlog
  goes away.
- A batch should be what one post holds: {_posts(DESCRIPTION, LONG_DESCRIPTION)}. Larger
  ones are no faster, and are turned away more often: the rest of a batch uses up as much of the rate as a full post.
  Each has a button to take it, and the customer's name, address, number and conversation.
  With descriptions of more than {_longest()} characters on average, {SLACK_RATE} a second are too much.
- Slack does not document how much a post holds, nor how it counts: these figures are by what others have measured. If
  Slack refuses a post as too long, its requests go out alone, and the consumer's next posts are smaller.
- What is turned away goes back to the queue, with a back-off that grows to 15 minutes, so that more of it is under way
  than needs to be. Waiting for Slack's `Retry-After` in place, for five seconds at most, takes little more than one
  attempt a request, and fewer and shorter waits. Four batches at once instead of two are only turned away more often.
- If Slack took no bursts at all, two consumers that know nothing of each other would miss every fourth post: fewer than
  {SLACK_RATE} requests a second. This can't be known without Slack.

## Held against the local stack

Each phase of `make load`, predicted from the first one alone: what each step computes, eight calls at once, two batches
at once. Left of what was **measured** it is predicted for two cores that are all ours, right of it for what others left
of them, which is too little, since they gave way to us. Of the emulator's locks the simulation knows nothing.

{_compared(results.compared)}

## What is chosen

{_choices(work)}
"""


def _posts(*descriptions: int) -> str:
    return ", ".join(f"{quotas.together(length)} requests of {length} characters" for length in descriptions)


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
                    f"ten full calls to SNS; takes {batch:.1f} s of the function's 60. A larger one is not faster: the "
                    "records take the time"
                ),
            ],
            [
                "stream, batches of a shard at once",
                str(PARALLELIZATION_FACTOR),
                (
                    f"a new table's four shards then take {takes[PARALLELIZATION_FACTOR]} requests a second, and catch "
                    f"up while its four partitions accept 1,000, at any number of them; {takes[3]} with three, "
                    f"{takes[1]} with one. Ten would halve the batches of a quiet stream, and could take 40 at once of "
                    "a new account's ten"
                ),
            ],
            [
                "stream, window",
                f"{STREAM.window} s",
                (
                    "a second saves at most one call of Lambda and one of SNS for each request, $0.70 a million, and "
                    "only where batches are small"
                ),
            ],
            ["Slack, batch size", str(SLACK.size), "what one post holds"],
            ["Slack, window", f"{SLACK.window} s", "the least for batches of more than ten"],
            ["Slack, batches at once", "2", "Lambda's least; more are turned away"],
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
                    "eight take 4,000. A sweep queries each: the sixteen more, on two indexes, cost $0.09 a month"
                ),
            ],
        ],
    )


def _two_batches(work: Work, size: int, answer: float) -> float:
    """Requests a second of two batches at once."""
    return 2 * size / (0.05 + size * work.deliver / quotas.VCPU + answer)


def _producer(work: Work, factor: int) -> float:
    return quotas.NEW_TABLE_PARTITIONS * work.publishers_rate / PARALLELIZATION_FACTOR * factor


def _longest() -> int:
    return max(length for length in range(4_000) if quotas.together(length) >= SLACK_RATE)


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
    """Dollars for the whole day, by service."""
    bills = [(day, _bill(day.report)) for day in days]
    rows = [
        [day.name, *(f"{dollars:,.2f}" for dollars in bill.values()), f"{sum(bill.values()):,.2f}",
         f"{1e6 * sum(bill.values()) / day.report.accepted:.2f}"]
        for day, bill in bills
    ]  # fmt: skip
    return chart.table(["dollars", *PRICES, "in all", "a million requests"], rows)


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
        # Sent by SNS, received and deleted ten at a time.
        "SQS": (report.accepted + report.by_fallback) * (1 + 2 / 10),
        "SES": report.delivered[Channel.EMAIL],
    }
    return {name: PRICES[name] * count / 1e6 for name, count in units.items()}


def _slack(days: Sequence[Day]) -> str:
    head = ["", "delivered", "p50", "p99", "waiting at most", "at the end", "drained after the burst", "posts a second",
            "attempts a request", "by fallback"]  # fmt: skip
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
