"""A synthesized template with queries for the tests."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from assistance.routing import Channel
from infra.stages import load
from tests.build_cache import cached

if TYPE_CHECKING:
    from aws_cdk import App

    from infra.stack import AssistanceStack

Properties: TypeAlias = Mapping[str, Any]

REAL: Mapping[str, str] = {
    "account": "123456789012", "region": "us-east-1", "slack_channel": "C0123456789",
    "email_sender": "bot@company.io", "email_recipients": "sales@company.io", "operator_email": "ops@company.io",
    "runbook_url": "https://company.io/assistance/operations.md",
}  # fmt: skip
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "dev": {},
    # The same sender as in production, as if both stages shared an account.
    "staging": {"stage": "staging", **REAL, "create_email_identity": "false", "runbook_url": "docs/operations.md"},
    "production": {"stage": "production", **REAL},
    "local": {"local": "true", "alarms": "true", "take": "true", "slack_api_url": "http://127.0.0.1:1/api/"},
}
# Everything that a deployer may add to any stage.
EXTRAS: Mapping[str, Mapping[str, str]] = {
    "everything": {
        "stage": "production", **REAL, "access_logs": "account_role", "waf": "true", "quota_per_day": "10000",
        "api_keys": "1,2", "api_reference": "true", "snap_start": "true", "take": "true",
        "email_domain": "company.io", "governed": "true", "rollback_minutes": "15", "tracing": "all",
        "domain_name": "api.company.io", "base_path": "assistance",
        "certificate_arn": "arn:aws:acm:us-east-1:111122223333:certificate/5d3f1c2a",
    },
    "nothing": {"stage": "production", **REAL, "tracing": "false", "create_email_identity": "false",
                "alarms": "false"},
    # Takes are on.
    "takes": {"stage": "staging", **REAL, "take": "true"},
    # Routes with every channel that the code has, with and without a fallback.
    "every channel": {"alarms": "true", "routes": json.dumps({
        "sales": {"channels": [*Channel]},
        **{f"by-{channel}": {"channels": [channel], "fallback": list(Channel)[number - 1]}
           for number, channel in enumerate(Channel)},
        "elsewhere": {"channels": [*Channel],
                      "where": {"slack": "C0ELSEWHERE", "email": "elsewhere@company.io", "teams": "elsewhere"}},
    })},
    "one channel": {"alarms": "true", "routes": json.dumps({"sales": {"channels": ["slack"]}})},
}  # fmt: skip
CONTEXTS: Mapping[str, Mapping[str, str]] = {**VARIANTS, **EXTRAS}


@dataclass(frozen=True)
class Template:
    """A template as it is passed to CloudFormation."""

    stack_name: str
    document: Mapping[str, Any]

    @property
    def resources(self) -> Mapping[str, Any]:
        resources: Mapping[str, Any] = self.document["Resources"]
        return resources

    def all(self, kind: str) -> dict[str, Properties]:
        """The properties of every resource of this type, by logical id."""
        return {name: r.get("Properties", {}) for name, r in self.resources.items() if r["Type"] == kind}

    def only(self, kind: str) -> Properties:
        """The properties of the one resource of this type."""
        (properties,) = self.all(kind).values()
        return properties

    def function(self, folder: str) -> tuple[str, Properties]:
        """The logical id and the properties of the function whose code is in this folder."""
        (found,) = (
            (name, function)
            for name, function in self.all("AWS::Lambda::Function").items()
            if function["Handler"] == f"{folder}.handler.lambda_handler"
        )
        return found

    def event_source(self, folder: str) -> Properties:
        """The event source of this folder's function."""
        name, _ = self.function(folder)
        (source,) = (
            source
            for source in self.all("AWS::Lambda::EventSourceMapping").values()
            if target(source["FunctionName"]) == name
        )
        return source

    def services_key(self) -> tuple[str, Properties]:
        """The logical id and properties of the KMS key with which AWS services publish. A stage may have another."""
        [key] = ((name, it) for name, it in self.all("AWS::KMS::Key").items() if name.startswith("ServicesKey"))
        return key

    def schedule(self, folder: str) -> Properties:
        """The schedule that invokes this folder's function."""
        name, _ = self.function(folder)
        schedules = self.all("AWS::Scheduler::Schedule").values()
        [found] = (schedule for schedule in schedules if target(schedule["Target"]["Arn"]) == name)
        return found

    def invoke_config(self, folder: str) -> Properties:
        """Return the settings for retries of asynchronous invocations of this folder's function."""
        name, _ = self.function(folder)
        (config,) = (
            config
            for config in self.all("AWS::Lambda::EventInvokeConfig").values()
            if target(config["FunctionName"]) == name
        )
        return config

    def statements(self, name: str) -> list[Properties]:
        """Return the policy statements of the role with this logical id."""
        return [
            statement
            for policy in self.all("AWS::IAM::Policy").values()
            if name in map(target, policy["Roles"])
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def dead_letter_queues(self) -> set[str]:
        """Every queue that receives messages or events after all their retries failed."""
        queues = {
            target(queue["RedrivePolicy"]["deadLetterTargetArn"])
            for kind in ("AWS::SQS::Queue", "AWS::SNS::Subscription")
            for queue in self.all(kind).values()
            if "RedrivePolicy" in queue
        }
        on_failure = {
            target(source["DestinationConfig"]["OnFailure"]["Destination"])
            for kind in ("AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig")
            for source in self.all(kind).values()
            if "DestinationConfig" in source
        }
        return queues | on_failure


@contextmanager
def built(context: Mapping[str, str]) -> Iterator[tuple["App", "AssistanceStack"]]:
    """The app with its stack, without building the function bundles."""
    # Importing the CDK starts Node.js. Every process of a test run imports this module, and few synthesize a template.
    from infra.app import build, new_app  # noqa: PLC0415

    with TemporaryDirectory() as directory:
        app = new_app({**context, "aws:cdk:bundling-stacks": []}, directory)
        config = load(app.node.get_all_context())
        # The tests hold for any account.
        yield app, build(app, config.model_copy(update={"account": None, "region": None}))


@dataclass(frozen=True)
class Synthesis:
    """What the tests read of the stack that a variant synthesizes. It is cached, since the synthesis takes seconds."""

    stack_name: str
    document: Mapping[str, Any]
    manifest: Mapping[str, Any]
    termination_protection: bool
    violations: list[str]
    """The findings of cdk-nag."""


@cache
def synthesis(variant: str) -> Synthesis:
    """Synthesize a variant (a stage with certain settings: a key of `CONTEXTS`), unless the cache has it."""
    return Synthesis(**cached(variant, lambda: asdict(_made(variant))))


def _made(variant: str) -> Synthesis:
    from cdk_nag import AwsSolutionsChecks  # noqa: PLC0415 # see `built`

    with built(CONTEXTS[variant]) as (app, stack):
        directory = Path(app.synth().directory)
        report = AwsSolutionsChecks(app).validate_scope(app)
        return Synthesis(
            stack.stack_name,
            json.loads((directory / stack.template_file).read_text("utf-8")),
            json.loads((directory / "manifest.json").read_text("utf-8")),
            bool(stack.termination_protection),
            [f"{violation.rule_name} {violation.description}" for violation in report.violations],
        )


@cache
def synthesized(variant: str) -> Template:
    """The template of a variant, a key of `CONTEXTS`."""
    found = synthesis(variant)
    return Template(found.stack_name, found.document)


def changed(context: Mapping[str, str]) -> Template:
    """The template with these settings, without the cache: the test may have patched the code that synthesizes it."""
    with built(context) as (app, stack):
        directory = Path(app.synth().directory)
        return Template(stack.stack_name, json.loads((directory / stack.template_file).read_text("utf-8")))


def target(reference: Properties) -> str:
    """The logical id that a `Ref` or `Fn::GetAtt` names."""
    if "Ref" in reference:
        return str(reference["Ref"])
    return str(reference["Fn::GetAtt"][0])


def text_of(value: Any) -> str:  # noqa: ANN401
    """A value of the template as text, with `${logical id}` for each part that CloudFormation inserts."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(text_of(part) for part in parts)
    return f"${{{target(value)}}}"


def graphs(template: Template) -> Iterator[tuple[str, list[str]]]:
    """Every metric on a dashboard: the title of its graph, and its namespace, name and dimensions."""
    for dashboard in template.all("AWS::CloudWatch::Dashboard").values():
        for widget in json.loads(text_of(dashboard["DashboardBody"]))["widgets"]:
            if widget["type"] == "metric":
                for metric in widget["properties"]["metrics"]:
                    yield widget["properties"]["title"], [part for part in metric if isinstance(part, str)]


def as_list(value: object) -> list[Any]:
    """The value as a list: IAM and CloudFormation write a single value without a list."""
    return value if isinstance(value, list) else [value]
