"""What a stage costs without traffic: the README's table, computed from the template and from a run of the reconciler.

`make docs` writes it.
"""

import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from botocore.client import BaseClient

import tests.conftest  # noqa: F401 - credentials that lead nowhere
from tests.fixtures import documented
from tests.infra.template import Template, synthesized, target
from tests.integration.cloud import cloud
from tests.integration.conftest import forget

README: Final = Path(__file__).resolve().parent.parent / "README.md"
START: Final = "<!-- Written by: make docs -->\n"
END: Final = "<!-- /at rest -->\n"

MINUTES: Final = 730 * 60
"""In a month, as AWS counts."""
# What is assumed of a run of the reconciler that finds nothing to do.
SECONDS: Final = 0.25
LOG_BYTES: Final = 1_500
# Lambda reads a queue over five connections, of which each waits for up to 20 s:
# https://aws.amazon.com/blogs/aws/aws-lambda-adds-amazon-simple-queue-service-to-supported-event-sources/
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
POLLS_A_MINUTE: Final = 5 * 60 // 20
# Half a unit for a page of an index, one for a consistent read or a write of up to 1 KB:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
READ_UNITS: Final = {"Query": 0.5, "GetItem": 1.0, "BatchGetItem": 1.0}
WRITE_UNITS: Final = {"PutItem": 1.0, "UpdateItem": 1.0, "DeleteItem": 1.0}
SQS_REQUESTS: Final = {"GetQueueAttributes": 1.0, "ReceiveMessage": 1.0, "ChangeMessageVisibility": 1.0}

OPTIONAL: Final = ("Metrics under alarm", "Composite alarms", "Dashboards")

# Types that cost nothing while nobody uses them, or whose cost is counted from what they do.
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


@dataclass(frozen=True, slots=True)
class Row:
    """So many of something a month, at a list price in dollars; `free`: how many every account gets for nothing."""

    what: str
    count: float
    price: float
    free: float = 0

    @property
    def full(self) -> float:
        """At the list price."""
        return self.count * self.price

    @property
    def reduced(self) -> float:
        """Of an account that has nothing else."""
        return max(0, self.count - self.free) * self.price


@dataclass(frozen=True, slots=True)
class Run:
    """What a run of the reconciler does that finds nothing to do: calls to AWS, and custom metrics."""

    calls: Mapping[str, int]
    metrics: int

    def units(self, prices: Mapping[str, float]) -> float:
        """Of the calls that are in this list."""
        return sum(count * prices.get(call, 0) for call, count in self.calls.items())


@cache
def idle_run() -> Run:
    """Run the reconciler over an empty table."""
    calls: Counter[str] = Counter()
    original = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001

    def counted(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        calls[operation] += 1
        return original(self, operation, arguments)

    names = {"POWERTOOLS_SERVICE_NAME": "reconciler", "POWERTOOLS_METRICS_NAMESPACE": "assistance"}
    with cloud("http://127.0.0.1:1/api/") as stack, patch.dict(os.environ, {**stack.environment, **names}):
        forget()
        stack.handler("reconciler")(documented("scheduler"), stack.context)
        output = io.StringIO()
        with patch.object(BaseClient, "_make_api_call", counted), redirect_stdout(output):
            stack.handler("reconciler")(documented("scheduler"), stack.context)
    forget()
    emitted = [json.loads(line) for line in output.getvalue().splitlines() if line.startswith('{"')]
    directives = [d for line in emitted if "_aws" in line for d in line["_aws"]["CloudWatchMetrics"]]
    return Run(calls, sum(len(d["Metrics"]) * len(d["Dimensions"]) for d in directives))


def rows(template: Template, run: Run) -> Iterator[Row]:
    """Everything that costs something. The prices are those of us-east-1."""
    # https://aws.amazon.com/cloudwatch/pricing/
    alarms = template.all("AWS::CloudWatch::Alarm").values()
    watched = sum(sum("MetricStat" in metric for metric in alarm.get("Metrics", ())) or 1 for alarm in alarms)
    yield Row("Metrics under alarm", watched, 0.10, free=10)
    yield Row("Composite alarms", len(template.all("AWS::CloudWatch::CompositeAlarm")), 0.50)
    yield Row("Dashboards", len(template.all("AWS::CloudWatch::Dashboard")), 3.00, free=3)
    yield Row("Metrics of our own", run.metrics, 0.30, free=10)
    # https://aws.amazon.com/secrets-manager/pricing/, https://aws.amazon.com/kms/pricing/
    yield Row("Secrets", len(template.all("AWS::SecretsManager::Secret")), 0.40)
    yield Row("Keys of our own", len(template.all("AWS::KMS::Key")), 1.00)
    # https://aws.amazon.com/waf/pricing/
    firewalls = template.all("AWS::WAFv2::WebACL").values()
    yield Row("Web ACLs", len(firewalls), 5.00)
    yield Row("Their rules", sum(len(acl.get("Rules", ())) for acl in firewalls), 1.00)
    # https://aws.amazon.com/sqs/pricing/
    sources = template.all("AWS::Lambda::EventSourceMapping").values()
    queues = sum(target(source["EventSourceArn"]) in template.all("AWS::SQS::Queue") for source in sources)
    runs = MINUTES / _interval(template)
    polls = queues * POLLS_A_MINUTE * MINUTES + runs * run.units(SQS_REQUESTS)
    yield Row("Lambda asking the queues for messages", polls, 0.40e-6, free=1e6)
    # https://aws.amazon.com/eventbridge/pricing/, https://aws.amazon.com/lambda/pricing/
    yield Row("Runs of the reconciler, by the scheduler", runs, 1.00e-6, free=14e6)
    yield Row("The same, as calls of Lambda", runs, 0.20e-6, free=1e6)
    _, reconciler = template.function("reconciler")
    yield Row("Their GB-seconds", runs * SECONDS * reconciler["MemorySize"] / 1024, 0.0000133334, free=400e3)
    kept = [target(version["FunctionName"]) for version in template.all("AWS::Lambda::Version").values()]
    snapshots = sum(template.resources[name]["Properties"]["MemorySize"] / 1024 for name in kept)
    yield Row("GB-seconds of snapshots", snapshots * MINUTES * 60, 0.0000015046)
    # https://aws.amazon.com/dynamodb/pricing/on-demand/
    yield Row("Their read units", runs * run.units(READ_UNITS), 0.125e-6)
    yield Row("Their write units", runs * run.units(WRITE_UNITS), 0.625e-6)
    # https://aws.amazon.com/cloudwatch/pricing/, https://aws.amazon.com/xray/pricing/
    yield Row("Their logs, in GB", runs * LOG_BYTES / 1e9, 0.50, free=5)
    traced = reconciler.get("TracingConfig", {}).get("Mode") == "Active"
    yield Row("Their traces", runs * traced, 5.00e-6, free=100e3)


def _interval(template: Template) -> int:
    schedule = template.only("AWS::Scheduler::Schedule")["ScheduleExpression"]
    minutes = re.fullmatch(r"rate\((\d+) minutes?\)", schedule)
    assert minutes
    return int(minutes[1])


def render() -> str:
    """The table, for production with the defaults."""
    priced = [row for row in rows(synthesized("production"), idle_run()) if row.count]
    lines = (f"| {row.what} | {_count(row.count)} | {_money(row.full)} | {_money(row.reduced)} |\n" for row in priced)
    return (
        "| in a month | how many | list price | after the free tier |\n|---|--:|--:|--:|\n"
        + "".join(lines)
        + _total("In all", priced)
        + _total("With `alarms` set to `false`", [row for row in priced if row.what not in OPTIONAL])
    )


def _total(what: str, priced: Sequence[Row]) -> str:
    full, reduced = sum(row.full for row in priced), sum(row.reduced for row in priced)
    return f"| **{what}** | | **{_money(full)}** | **{_money(reduced)}** |\n"


def _count(count: float) -> str:
    return f"{count:,.2f}" if count < 1 else f"{count:,.0f}"


def _money(dollars: float) -> str:
    return "< $0.01" if 0 < dollars < 0.005 else f"${dollars:.2f}"


def page() -> str:
    """The README with today's table."""
    text = README.read_text("utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return before + START + render() + END + after


if __name__ == "__main__":
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    README.write_text(page(), "utf-8")
