"""Computes the cost of a stage without traffic, from its template and from a run of its reconciler.

`make docs` writes the totals into the README, and the table into docs/deployment.md.
"""

import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from botocore.client import BaseClient

import tests.conftest  # noqa: F401 - credentials that lead nowhere
from tests.fixtures import documented
from tests.infra.template import Template, graphs, synthesized, target
from tests.integration.cloud import cloud, forget
from tests.logged_metrics import emitted

ROOT: Final = Path(__file__).resolve().parent.parent
START: Final = "<!-- Written by: make docs -->\n"
END: Final = "<!-- /at rest -->\n"

HOURS: Final = 730
"""Hours in a month, as AWS computes them."""
MINUTES: Final = HOURS * 60
# Assumptions about a reconciler run that finds nothing to do.
SECONDS: Final = 0.25
LOG_BYTES: Final = 1_500
# Lambda polls a queue over five connections, each with long polling of up to 20 s:
# https://aws.amazon.com/blogs/aws/aws-lambda-adds-amazon-simple-queue-service-to-supported-event-sources/
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
POLLS_A_MINUTE: Final = 5 * 60 // 20
# Half a unit for a page of an index, one for a consistent read or a write of up to 1 KB:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
READ_UNITS: Final = {"Query": 0.5, "consistent Query": 1.0, "consistent GetItem": 1.0, "BatchGetItem": 1.0}
WRITE_UNITS: Final = {"PutItem": 1.0, "UpdateItem": 1.0}
SQS_REQUESTS: Final = {"GetQueueAttributes": 1.0, "ReceiveMessage": 1.0, "ChangeMessageVisibility": 1.0}
# The number of free dashboards: https://aws.amazon.com/cloudwatch/pricing/
DASHBOARD_METRICS: Final = 50

STAGES: Final = ("dev", "production")
"""The stages whose cost the pages show, each with its default settings."""

# Types without a cost at rest, or whose cost is counted by their calls.
FREE: Final = re.compile(
    r"AWS::(ApiGateway|IAM|Lambda|Logs|SES|SNS|SQS|Scheduler|CDK|XRay)::\w+|AWS::DynamoDB::(GlobalTable|Table)"
    r"|AWS::KMS::Alias|AWS::SecretsManager::ResourcePolicy|AWS::WAFv2::WebACLAssociation"
)
COSTS: Final = frozenset(
    {
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::KMS::Key",
        "AWS::SecretsManager::Secret",
        "AWS::WAFv2::WebACL",
    }
)


class Source(NamedTuple):
    """A page with AWS's prices. docs/deployment.md says which prices of the page we checked."""

    page: str

    @property
    def url(self) -> str:
        """The address of the price page."""
        return f"https://aws.amazon.com/{self.page}/"


CLOUDWATCH: Final = Source("cloudwatch/pricing")
SECRETS: Final = Source("secrets-manager/pricing")
KMS: Final = Source("kms/pricing")
WAF: Final = Source("waf/pricing")
SES: Final = Source("ses/pricing")
SQS: Final = Source("sqs/pricing")
SCHEDULER: Final = Source("eventbridge/pricing")
LAMBDA: Final = Source("lambda/pricing")
DYNAMODB: Final = Source("dynamodb/pricing/on-demand")
XRAY: Final = Source("xray/pricing")


@dataclass(frozen=True, slots=True)
class Row:
    """A number of units per month, at a list price in dollars.

    `free`: the units per month that are free in every account.
    """

    what: str
    count: float
    price: float
    source: Source
    free: float = 0
    part: str = ""
    """The heading under which tests/cost.py adds up the cost."""

    @property
    def full(self) -> float:
        """The cost in dollars a month at the list price."""
        return self.count * self.price

    @property
    def reduced(self) -> float:
        """Return the cost after the free tier, for an account without any other usage."""
        return max(0, self.count - self.free) * self.price


@dataclass(frozen=True, slots=True)
class Run:
    """The AWS calls and custom metrics of a reconciler run that finds nothing to do."""

    calls: Mapping[str, int]
    metrics: int

    def units(self, prices: Mapping[str, float]) -> float:
        """Return the billed units of the run's calls. `prices`: the units per call, by operation; others count as 0."""
        return sum(count * prices.get(call, 0) for call, count in self.calls.items())


@cache
def idle_run(variant: str) -> Run:
    """Run the reconciler of the stage `variant` with an empty table, and count what it uses."""
    calls: Counter[str] = Counter()
    original = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001

    def counted(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        calls["consistent " * arguments.get("ConsistentRead", False) + operation] += 1
        return original(self, operation, arguments)

    _, reconciler = synthesized(variant).function("reconciler")
    variables = reconciler["Environment"]["Variables"]
    powertools = {name: value for name, value in variables.items() if name.startswith("POWERTOOLS_")}
    with cloud("http://127.0.0.1:1/api/") as stack, patch.dict(os.environ, {**stack.environment, **powertools}):
        forget()
        with redirect_stdout(io.StringIO()):
            stack.handler("reconciler")(documented("scheduler"), stack.context)
        with redirect_stdout(io.StringIO()) as log, patch.object(BaseClient, "_make_api_call", counted):
            stack.handler("reconciler")(documented("scheduler"), stack.context)
    forget()
    return Run(calls, len(emitted(log.getvalue())))


def rows(variant: str) -> Iterator[Row]:
    """Everything in the stage `variant` that costs money while idle. The prices are those of us-east-1."""
    template, run = synthesized(variant), idle_run(variant)
    alarms = template.all("AWS::CloudWatch::Alarm").values()
    watched = sum(sum("MetricStat" in metric for metric in alarm.get("Metrics", ())) or 1 for alarm in alarms)
    part = "Alarms, pages, a dashboard"
    yield Row("Metrics under alarm", watched, 0.10, CLOUDWATCH, free=10, part=part)
    # Composite alarms are not free: the free tier covers alarms on metrics.
    yield Row("Composite alarms", len(template.all("AWS::CloudWatch::CompositeAlarm")), 0.50, CLOUDWATCH, part=part)
    small = len({tuple(metric) for _, metric in graphs(template)}) <= DASHBOARD_METRICS
    dashboards = len(template.all("AWS::CloudWatch::Dashboard"))
    yield Row("Dashboards", dashboards, 3.00, CLOUDWATCH, free=3 * small, part=part)
    beats = len(template.all("AWS::Scheduler::Schedule")) - 1
    # Every heartbeat emits one metric, and SES's event about the heartbeat by email another.
    heard = bool(beats) and any("EmailFeedback" in name for name in template.all("AWS::Lambda::Function"))
    yield Row("Metrics of our own", run.metrics + beats + heard, 0.30, CLOUDWATCH, free=10, part="Metrics of our own")
    secrets = len(template.all("AWS::SecretsManager::Secret"))
    yield Row("Secrets", secrets, 0.40, SECRETS, part="Slack's token and the callbacks' key, in Secrets Manager")
    yield Row("Keys", len(template.all("AWS::KMS::Key")), 1.00, KMS, part="A key, for SNS")
    firewalls = template.all("AWS::WAFv2::WebACL").values()
    yield Row("Web ACLs", len(firewalls), 5.00, WAF, part="A web ACL")
    yield Row("Their rules", sum(len(acl.get("Rules", ())) for acl in firewalls), 1.00, WAF, part="A web ACL")
    sources = template.all("AWS::Lambda::EventSourceMapping").values()
    queues = sum(target(source["EventSourceArn"]) in template.all("AWS::SQS::Queue") for source in sources)
    runs = MINUTES / _interval(template)
    polls = queues * POLLS_A_MINUTE * MINUTES + runs * run.units(SQS_REQUESTS)
    part = "Lambda asking the queues for messages"
    yield Row("Requests to SQS", polls, 0.40e-6, SQS, free=1e6, part=part)
    part = f"{runs:,.0f} runs of the reconciler"
    yield Row("Runs of the reconciler, by the scheduler", runs, 1.00e-6, SCHEDULER, free=14e6, part=part)
    yield Row("The same, as calls of Lambda", runs, 0.20e-6, LAMBDA, free=1e6, part=part)
    _, reconciler = template.function("reconciler")
    seconds = runs * SECONDS * reconciler["MemorySize"] / 1024
    yield Row("Their GB-seconds, on Arm", seconds, 0.0000133334, LAMBDA, free=400e3, part=part)
    kept = [target(version["FunctionName"]) for version in template.all("AWS::Lambda::Version").values()]
    snapshots = sum(template.resources[name]["Properties"]["MemorySize"] / 1024 for name in kept)
    yield Row("GB-seconds of snapshots", snapshots * MINUTES * 60, 0.0000015046, LAMBDA, part="Snapshots")
    yield Row("Their read units", runs * run.units(READ_UNITS), 0.125e-6, DYNAMODB, part=part)
    yield Row("Their write units", runs * run.units(WRITE_UNITS), 0.625e-6, DYNAMODB, part=part)
    yield Row("Their logs, in GB", runs * LOG_BYTES / 1e9, 0.50, CLOUDWATCH, free=5, part=part)
    traced = reconciler.get("TracingConfig", {}).get("Mode") == "Active"
    yield Row("Their traces", runs * traced, 5.00e-6, XRAY, free=100e3, part=part)
    part = "Hourly checks of the channels"
    yield Row("Heartbeats of channels, by the scheduler", beats * HOURS, 1.00e-6, SCHEDULER, free=14e6, part=part)
    yield Row("Mails of the heartbeat, to SES's simulator", HOURS * heard, 0.10e-3, SES, part=part)


def _interval(template: Template) -> int:
    schedule = template.schedule("reconciler")["ScheduleExpression"]
    minutes = re.fullmatch(r"rate\((\d+) minutes?\)", schedule)
    assert minutes
    return int(minutes[1])


def short() -> str:
    """The sentence of the README that says what an idle stage costs a month."""
    dev, production = (list(rows(stage)) for stage in STAGES)
    full = [_money(sum(row.full for row in stage)) for stage in (dev, production)]
    reduced = [_money(sum(row.reduced for row in stage)) for stage in (dev, production)]
    return (
        f"Without traffic, dev costs **{full[0]}** a month, and staging or production **{full[1]}**; "
        f"after the free tier {reduced[0]} and {reduced[1]}.\n"
    )


def details() -> str:
    """The table of docs/deployment.md: the price of each unit that an idle stage uses, and its units a month."""
    lines = []
    for of_dev, row in zip(*map(rows, STAGES), strict=True):
        if row.count or of_dev.count:
            price, free = f"${row.price:.10f}".rstrip("0"), _count(row.free) if row.free else "none"
            price = price if len(price.partition(".")[2]) > 1 else f"${row.price:.2f}"
            link = f"[{price}]({row.source.url})"
            lines.append(_line(row.what, _count(of_dev.count), _count(row.count), link, free))
    head = _line("in a month", *STAGES, "price of one", "free")
    return "".join([head, "|---|--:|--:|--:|--:|\n", *lines])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _count(count: float) -> str:
    return f"{count:,.2f}" if 0 < count < 1 else f"{count:,.0f}"


def _money(dollars: float) -> str:
    return f"${dollars:.2f}" if dollars else ""


PAGES: Final[Mapping[Path, Callable[[], str]]] = {ROOT / "README.md": short, ROOT / "docs/deployment.md": details}


def page(path: Path) -> str:
    """The content of the page at `path`, with its part between the two marks written anew by `short` or `details`."""
    before, _, rest = path.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    return before + START + PAGES[path]() + END + after


if __name__ == "__main__":
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for page_path in PAGES:
        page_path.write_text(page(page_path), "utf-8")
