"""Computes what requests cost: from counted calls, list prices and assumed durations. Writes `docs/cost.md`.

`make cost` writes it.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeAlias

import tests.conftest  # noqa: F401 - credentials that lead nowhere
from assistance.routing import ROUTES, Topic, named
from assistance.store.schema import INDEX_SHARDS
from infra.batches import QUEUES
from tests import happy_path, idle_cost, naive
from tests.happy_path import BATCHES, DESCRIPTION, LONGEST
from tests.infra.template import synthesized
from tests.meter import Spent
from tests.recorded_calls import record

PAGE: Final = Path(__file__).resolve().parent.parent / "docs/cost.md"
Used: TypeAlias = Mapping[str, float]
"""The number of each billed unit that one request uses."""


@dataclass(frozen=True, slots=True)
class Price:
    """A price in dollars: the list price of us-east-1 without free tiers and volume discounts."""

    service: str
    what: str
    dollars: float
    source: str


@cache
def prices() -> Mapping[str, Price]:
    """The price of each billed unit, by a short name.

    Prices of units that an idle stage uses too come from `idle_cost`.
    """
    known = {row.what: row.price for row in idle_cost.rows("production")}
    lambda_, logs = "https://aws.amazon.com/lambda/pricing/", "https://aws.amazon.com/cloudwatch/pricing/"
    api, table = "https://aws.amazon.com/api-gateway/pricing/", "https://aws.amazon.com/dynamodb/pricing/on-demand/"
    return {
        "rest": Price("API Gateway", "a call of a REST API", 3.50e-6, api),
        "http": Price("API Gateway", "a call of an HTTP API", 1.00e-6, api),
        "invocation": Price("Lambda, requests", "an invocation", known["The same, as calls of Lambda"], lambda_),
        "gb_s": Price("Lambda, GB-s", "a GB-second on arm64", known["Their GB-seconds, on Arm"], lambda_),
        "restore": Price("Lambda, SnapStart", "a GB restored from a snapshot", 0.0001397998, lambda_),
        "snapshot": Price("Lambda, SnapStart", "a GB-second of a snapshot", known["GB-seconds of snapshots"], lambda_),
        "write": Price("DynamoDB", "a write request unit", known["Their write units"], table),
        "read": Price("DynamoDB", "a read request unit", known["Their read units"], table),
        "stream": Price("DynamoDB Streams", "a read by Lambda", 0, table),
        "publish": Price("SNS", "64 KB published; to SQS and Lambda it delivers at no charge", 0.50e-6,
                         "https://aws.amazon.com/sns/pricing/"),
        "queue": Price("SQS", "a request, SNS's included; a batch is one",
                       known["Requests to SQS"], "https://aws.amazon.com/sqs/pricing/"),
        "log_gb": Price("CloudWatch Logs", "a GB taken in", known["Their logs, in GB"], logs),
        "metric": Price("CloudWatch metrics", "a metric of our own, a month: none by request", 0, logs),
        "trace": Price("X-Ray", "a trace recorded", 5.00e-6, "https://aws.amazon.com/xray/pricing/"),
        "mail": Price("SES", "a mail to one recipient", 100e-6, "https://aws.amazon.com/ses/pricing/"),
        "key": Price("KMS", "a request", 3e-6, "https://aws.amazon.com/kms/pricing/"),
        "secret": Price("Secrets Manager", "a read", 5e-6, "https://aws.amazon.com/secrets-manager/pricing/"),
        "firewall": Price("WAF", "a call that WAF inspects", 0.60e-6, "https://aws.amazon.com/waf/pricing/"),
    }  # fmt: skip


NAIVE_BATCHES: Final = BATCHES[:2]
"""Batches measured for the comparison design. It sends requests one by one, so 100 use ten times as much as 10."""
# Assumptions, since the tests cannot measure these values.
CALL_MS: Final[Mapping[str, float]] = {
    "dynamodb": 5, "sns": 15, "secretsmanager": 10, "sesv2": 80, "slack": 300,
}  # fmt: skip
INVOCATION_CPU_MS: Final = 1.0
RECORD_CPU_MS: Final[Mapping[str, float]] = {"api": 0, "stream_producer": 0.8}
CONSUMED_CPU_MS: Final = 2.2
"""CPU time of a consumer per record: lock, send and result. Measured with warm functions: benchmarks/results.md."""
WHOLE_CPU_MB: Final = 1_769
"""Memory with which a function has a whole CPU: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html."""
COLD: Final = 0.01
COLD_MS: Final = 800
RESTORE_MS: Final = 200
ACCESS_LOG_BYTES: Final = 450
PLATFORM_LOG_BYTES: Final = 350
# The producer publishes with so many threads: assistance/engine/publisher.py. A consumer has a thread for each record.
SIDE_BY_SIDE: Final = {"stream_producer": 10}
SWEPT: Final = BATCHES[-1]
# https://docs.aws.amazon.com/xray/latest/devguide/xray-console-sampling.html
SAMPLED_A_SECOND, SAMPLED_SHARE = 1, 0.05
# SNS requests and decrypts a data key, and reuses it for five minutes:
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#sse-cost
KEY_SECONDS, KEY_REQUESTS = 300, 2
TOKEN_SECONDS: Final = 300
ENVIRONMENTS: Final = 2


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of a deployer, and the load: `together` requests at once, on average `rate` requests a second.

    `gathered`: the number of requests that a batch window puts into the producer's batch; 0 without a batch window.
    """

    together: int
    rate: float
    memory: int = 512
    api: str = "rest"
    tracing: str = "api"
    snap_start: bool = False
    access_logs: bool = False
    firewall: bool = False
    gathered: int = 0

    @property
    def batch(self) -> int:
        """Return the number of requests in the producer's batch."""
        return self.gathered or self.together


Usage: TypeAlias = Callable[[Topic, Options], Used]


def _seconds(spent: Spent, records: int, options: Options, apart: int, record_ms: float) -> float:
    """Return an invocation's seconds. `apart`: its calls at the same time. `record_ms`: computing time of a record."""
    waits = Counter[str]()
    for call, count in spent.calls.items():
        waits[call] += max(1, -(-count // spent.invocations // apart))
    waiting = sum(rounds * CALL_MS[call.partition(".")[0]] for call, rounds in waits.items())
    computing = (INVOCATION_CPU_MS + record_ms * records) * max(1, WHOLE_CPU_MB / options.memory)
    return (waiting + computing) / 1_000


def _sum(*parts: Mapping[str, float]) -> dict[str, float]:
    total = defaultdict[str, float](float)
    for part in parts:
        for name, amount in part.items():
            total[name] += amount
    return total


@cache
def _traced(function: str, tracing: str) -> bool:
    variant = {"api": "production", "all": "everything", "off": "nothing"}[tracing]
    _, properties = synthesized(variant).function(function)
    return properties.get("TracingConfig") == {"Mode": "Active"}


def _lambda(spent: Mapping[str, Spent], options: Options, *, one_by_one: bool = False) -> dict[str, float]:
    used = defaultdict[str, float](float)
    for function, it in spent.items():
        if not it.invocations:
            continue
        records = -(-options.batch // it.invocations)
        apart = 1 if one_by_one else min(records, SIDE_BY_SIDE.get(function, records))
        seconds = _seconds(it, records, options, apart, RECORD_CPU_MS.get(function, CONSUMED_CPU_MS))
        started = COLD * (RESTORE_MS if options.snap_start else COLD_MS) / 1_000
        used["invocation"] += it.invocations
        used["gb_s"] += it.invocations * (seconds + started) * options.memory / 1_024
        used["restore"] += it.invocations * COLD * options.memory / 1_024 if options.snap_start else 0
        used["log_gb"] += it.logged / 1e9
        rate = options.rate * it.invocations / options.batch
        sampled = min(1, SAMPLED_A_SECOND / rate + SAMPLED_SHARE)
        used["trace"] += it.invocations * sampled if _traced(function, options.tracing) else 0
    return used


def _of(spent: Mapping[str, Spent], options: Options, *, one_by_one: bool = False) -> dict[str, float]:
    """Return the billed units of a batch, by their names in `prices()`. `one_by_one`: no calls in parallel."""
    everything = sum(spent.values(), Spent())
    consumers = [it.invocations for function, it in spent.items() if function.endswith("_consumer")]
    used = {
        options.api: options.batch,
        "write": everything.writes,
        "read": everything.reads,
        "publish": everything.published,
        # SNS sends messages one by one. Lambda receives and deletes ten at a time.
        "queue": options.batch + 2 * sum(batches * -(-options.batch // batches // 10) for batches in consumers),
        "mail": everything.calls["sesv2.SendEmail"],
        "secret": everything.calls["secretsmanager.GetSecretValue"],
        "firewall": options.batch if options.firewall else 0,
        "log_gb": options.batch * ACCESS_LOG_BYTES / 1e9 if options.access_logs else 0,
    }
    return _sum(used, _lambda(spent, options, one_by_one=one_by_one))


def ours(topic: Topic, options: Options) -> Used:
    """Return the usage of one request in this project's design."""
    spent = dict(happy_path.spent(topic, options.batch))
    # A reconciler run checks the requests of one minute.
    swept = happy_path.spent(topic, SWEPT)["reconciler"]
    share = options.batch / SWEPT
    spent["reconciler"] = replace(swept, writes=swept.writes * share, reads=swept.reads * share, logged=0)
    seconds = options.batch / options.rate
    topics = 1 + (topic is Topic.PRICING)
    besides = {
        # SES publishes an event about each mail.
        "publish": spent.get("email_feedback", Spent()).invocations,
        "key": topics * KEY_REQUESTS * seconds / KEY_SECONDS,
        "secret": (topic is Topic.SALES) * ENVIRONMENTS * seconds / TOKEN_SECONDS,
    }
    used = _sum(besides, _of(spent, options))
    return {name: count / options.batch for name, count in used.items()}


def commonly(topic: Topic, options: Options) -> Used:
    """Return the usage of one request in the simple comparison design."""
    spent = naive.spent(topic, options.batch)
    used = _of(spent, replace(options, tracing="all"), one_by_one=True)
    used["log_gb"] += sum(it.invocations for it in spent.values()) * PLATFORM_LOG_BYTES / 1e9
    return {name: count / options.batch for name, count in used.items()}


def floor(topic: Topic, options: Options) -> Used:
    """Return the least usage with which any design on the same AWS services could deliver one request."""
    waiting = {
        "accept": CALL_MS["dynamodb"],
        "publish": CALL_MS["sns"] / 100,
        "deliver": (2 * CALL_MS["dynamodb"] + CALL_MS["slack" if topic is Topic.SALES else "sesv2"]) / 100,
    }
    return {
        "http": 1,
        "invocation": 1 + 1 / 100 + 1 / 100,
        "gb_s": sum(waiting.values()) / 1_000 * 128 / 1_024,
        "write": 3,
        "publish": 1 / 10,
        "queue": 1 + 2 / 10,
        "mail": float(topic is Topic.PRICING),
    }


def dollars(used: Used) -> Mapping[str, float]:
    """The dollars for a million requests, by service."""
    return _sum(*({prices()[name].service: 1e6 * count * prices()[name].dollars} for name, count in used.items()))


def mixed(usage: Usage, options: Options) -> Mapping[str, float]:
    """The dollars for a million requests, by service, if half of them have each topic."""
    total = _sum(*(dollars(usage(topic, options)) for topic in Topic))
    return {service: amount / len(Topic) for service, amount in total.items()}


def _at(together: int) -> Options:
    return Options(together, rate=together)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return _row(*head) + _row("---", *("--:" for _ in head[1:])) + "".join(_row(*row) for row in rows)


def _money(amount: float, sign: str = "") -> str:
    return f"{amount:{sign}.2f}" if abs(amount) >= 0.005 else "0"


def _number(count: float) -> str:
    return f"{count:g}"


def _counts() -> str:
    rows = defaultdict[tuple[str, ...], list[Topic]](list)
    shown = (1, SWEPT)
    for topic in Topic:
        found = {together: happy_path.spent(topic, together) for together in shown}
        for function in found[1]:
            calls = [_calls(found[together][function]) for together in shown]
            units = [
                f"{_number(it[function].writes / together)}/{_number(it[function].reads / together)}"
                for together, it in found.items()
            ]
            rows[f"`{function}`", *calls, *units].append(topic)
    named_rows = [
        [name if len(of) == len(Topic) else f"{of[0]}: {name}", *cells] for (name, *cells), of in rows.items()
    ]
    head = ["", *(f"calls for {it}" for it in shown), *(f"write/read units each, of {it}" for it in shown)]
    return _table(head, named_rows).replace("--:", "---", len(shown))


def _calls(spent: Spent) -> str:
    return ", ".join(f"{count} {call.partition('.')[2]}" for call, count in sorted(spent.calls.items()))


def _bill() -> str:
    designs = [*((ours, it) for it in BATCHES), *((commonly, it) for it in NAIVE_BATCHES), (floor, 1)]
    columns = [mixed(usage, _at(it)) for usage, it in designs]
    services = dict.fromkeys(price.service for price in prices().values())
    rows = [
        [service, *(_money(it.get(service, 0)) for it in columns)]
        for service in services
        if any(it.get(service) for it in columns)
    ]
    totals = [sum(it.values()) for it in columns]
    mails = [it["SES"] for it in columns]
    rows.append(["**in all**", *(f"**{_money(it)}**" for it in totals)])
    rows.append(
        ["**without the mails**", *(f"**{_money(all_ - mail)}**" for all_, mail in zip(totals, mails, strict=True))]
    )
    for topic in Topic:
        each = [sum(dollars(usage(topic, _at(it))).values()) for usage, it in designs]
        rows.append([f"only {topic}", *map(_money, each)])
    head = ["$ per million", *(f"ours, {it}" for it in BATCHES), *(f"naive, {it}" for it in NAIVE_BATCHES), "floor"]
    return _table(head, rows)


def _options() -> str:
    options: Mapping[str, Callable[[Options], Options]] = {
        "HTTP API instead of REST: no keys or usage plans, an authorizer on top":
            partial(replace, api="http"),
        "`tracing=off`": partial(replace, tracing="off"),
        "`tracing=all`": partial(replace, tracing="all"),
        "functions of 256 MB instead of 512": partial(replace, memory=256),
        "functions of 1,024 MB": partial(replace, memory=1_024),
        "functions of 1,769 MB, a whole CPU": partial(replace, memory=1_769),
        "SnapStart, without keeping the snapshots": partial(replace, snap_start=True),
        "a batch window of the producer that gathers 10": partial(replace, gathered=10),
        "a batch window of the producer that gathers 100": partial(replace, gathered=100),
        "`access_logs=on`": partial(replace, access_logs=True),
        "`waf=true`": partial(replace, firewall=True),
    }  # fmt: skip
    rows = []
    for what, choose in options.items():
        cells = [_difference(_at(it), choose(_at(it))) for it in BATCHES]
        rows.append([what, *cells])
    return _table(["$ per million, more or less", *(f"at {it} a second" for it in BATCHES)], rows)


def _difference(before: Options, after: Options) -> str:
    if after.batch < before.batch:
        return ""
    return _money(sum(mixed(ours, after).values()) - sum(mixed(ours, before).values()), sign="+")


def _longest() -> str:
    cells = []
    for topic in Topic:
        spent = happy_path.spent(topic, 10, LONGEST)
        cells.append(sum(it.writes for it in spent.values()) / 10)
    return " and ".join(_number(round(it, 1)) for it in cells)


def _idle() -> str:
    spent = happy_path.idle()
    return f"{_calls(spent)}: {_number(spent.writes)} write and {_number(spent.reads)} read units"


def _poll() -> str:
    spent, options = happy_path.polled(), _at(1)
    own = _lambda({"api": spent}, replace(options, tracing="off"), one_by_one=True)
    used = _sum({"rest": 1, "read": spent.reads}, own)
    return f"{_calls(spent)}, {_number(spent.reads)} read unit, ${_money(sum(dollars(used).values()))} a million"


def saved_without_alarms() -> float:
    """Return the dollars a month by which a stage without traffic costs less with `alarms=false`."""
    # A stage without alarms has no heartbeats either.
    gone = {"Alarms, pages, a dashboard", "Metrics of our own", "Hourly checks of the channels"}
    return sum((row.full for row in idle_cost.rows("production") if row.part in gone), 0.0)


def render() -> str:
    """The whole page, as Markdown."""
    priced = "".join(
        f"- {price.service}, {price.what}: [{price.dollars * 1e6:,.10g}]({price.source})\n"
        for price in prices().values()
        if price.dollars
    )
    waits = ", ".join(f"{name} {_number(ms)} ms" for name, ms in CALL_MS.items())
    sizes = " and ".join(f"{QUEUES[channel].size} for {channel}" for channel in named(ROUTES.values()))
    snapshots = 0.5 * idle_cost.MINUTES * 60 * prices()["snapshot"].dollars
    return f"""\
# What requests cost

<!-- Written from what requests are seen to spend: make cost -->

Tests count the calls to AWS that the real handlers make (`tests/integration/test_aws_call_counts.py`); the DynamoDB
units follow from the sizes of the items. Prices are list prices of us-east-1 in November 2026, beyond every free tier.
[deployment.md](deployment.md#what-a-stage-costs-at-rest) says what a stage costs without traffic.

## What a request takes

Each request has a description of {len(DESCRIPTION)} characters, and is delivered at the first attempt. The API accepts
1 or {SWEPT} requests within a second; the consumers get them in batches of {sizes}. Requests of
the same batch share a Slack post. The reconciler's row shows by how much two sweeps over a minute's requests exceed
sweeps without requests.

{_counts()}
What the table does not show:
- The API's write takes a unit for the item and one for each index. The producer's update takes a unit for the item,
  and one for the outbox's index.
- With the longest description (4,000 characters of three bytes), a request of sales or pricing takes {_longest()} write
  units respectively, because the API and the producer each write the whole item.
- A sweep that finds nothing takes {_idle()}. In the half hour after a request, each sweep takes {INDEX_SHARDS} queries
  more, because it reads the new requests again: this costs $0.07 a month at most.
- A `GET` by a bot takes {_poll()} with Lambda and API Gateway, without tracing.
- A take by Slack's button takes 1 Query, 1 PutItem and 2 BatchGetItem; by a link, 3 Query and 1 PutItem, the web
  page included. A sweep reads a record once more for each escalation that is due.

## What a million requests cost

Half of the requests are on each topic, unless the row says otherwise. They come at 1, 10 or 100 a second, and the
producer gets those of one second in one batch. *Ours* is this project; *naive* and *floor* follow below the table.

{_bill()}
- **Naive** is the same pipeline as many projects build it (`tests/naive.py`): Powertools' idempotency with a table of
  its own; an index on the status that holds whole items; a publish and an update for each request; a read of Slack's
  token for each send; X-Ray traces of every function; Lambda's START, END and REPORT lines; no KMS key, ledger, reports
  of bounces or metrics. At 100 requests a second, a million requests cost this design as much as at 10, except that
  X-Ray traces a smaller share of them.
- **Floor** is the least that a design on these services costs: an HTTP API, one write unit to accept and two to
  deliver at most once, no index, full batches, the smallest memory, no computing time, no log and no trace. Ours adds
  a REST API with keys, three write units for the outbox and one for the ledger, SES's reports, logs, and traces.

## What the options change

{_options()}
SnapStart's snapshot costs ${_money(snapshots)} a month for each function of 512 MB.
`alarms=false` saves ${_money(saved_without_alarms())} a month. In a batch window, requests wait until it ends.

## What is assumed

Nothing was measured on AWS. The figures above follow from these assumptions about our design and the naive one:
- A call takes: {waits}.
- An invocation computes for {INVOCATION_CPU_MS:g} ms, plus {RECORD_CPU_MS["stream_producer"]:g} ms for each request
  that it publishes, or {CONSUMED_CPU_MS:g} ms for each that it delivers, as [measured](../benchmarks/results.md#warm)
  on a whole CPU ({WHOLE_CPU_MB:,} MB of memory). With half that memory, an invocation computes for twice as long.
- {COLD:.0%} of the invocations are cold starts, which take {COLD_MS} ms more ({RESTORE_MS} ms with SnapStart).
- X-Ray samples one invocation a second of each traced function, and {SAMPLED_SHARE:.0%} of the others.
- For each invocation, Lambda logs {PLATFORM_LOG_BYTES} bytes in the naive design, and none in ours. A line of the
  access log has {ACCESS_LOG_BYTES} bytes.
- In five minutes an SNS topic calls KMS {KEY_REQUESTS} times, and each of {ENVIRONMENTS} Lambda execution environments
  reads Slack's token once.
- Not counted: data sent to the internet, failures, retries, the table's storage and backups, callbacks.

## Prices

In dollars per million. Lambda reads the table's stream free of charge, and no metric is billed by request.
{priced}"""


if __name__ == "__main__":
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with record():
        PAGE.write_text(render(), "utf-8")
