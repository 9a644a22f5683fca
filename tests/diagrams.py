"""Draws the diagrams: the architecture from the template, and the status transitions that the tests allow.

`make docs` writes them into the pages.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from assistance.domain.record import Status
from assistance.routing import CALLBACK
from tests.faults.statuses import STEPS
from tests.infra.template import Properties, Template, as_list, synthesized, target

ROOT: Final = Path(__file__).resolve().parent.parent
START: Final = "<!-- Drawn by: make docs -->\n"
END: Final = "<!-- /drawn -->"
SUFFIX: Final = "_consumer"
WRITES: Final = {"dynamodb:PutItem", "dynamodb:UpdateItem"}


def architecture(template: Template | None = None) -> str:
    """Draw every resource that a request passes through, and every resource that invokes or forwards it."""
    drawn = _Architecture(template or synthesized("production"))
    return _fenced("flowchart LR", [*drawn.nodes(), *dict.fromkeys(drawn.edges())])


def statuses() -> str:
    """Draw the transitions of a request's status with the reason for each."""
    assert set(STEPS) == set(Status), "the steps are those of the enum"
    steps = [f"{before} --> {after}: {why}" for before, then in STEPS.items() for after, why in then.items()]
    return _fenced("stateDiagram-v2", [f"[*] --> {next(iter(Status))}", *steps])


class _Architecture:
    def __init__(self, template: Template) -> None:
        self._template = template
        self._functions = {
            name: function["Handler"].split(".")[0] for name, function in template.all("AWS::Lambda::Function").items()
        }
        self._sources = list(template.all("AWS::Lambda::EventSourceMapping").values())
        self._subscriptions = [
            each for each in template.all("AWS::SNS::Subscription").values() if each["Protocol"] in {"sqs", "lambda"}
        ]
        self._folders = self._functions.values()

    def nodes(self) -> Iterator[str]:
        """Yield a line of Mermaid for each node with a shape or a text. Functions need none: Mermaid draws a box."""
        yield "bot([bot])"
        for name in self._template.all("AWS::DynamoDB::GlobalTable"):
            yield f"{name}[(DynamoDB table and outbox)]"
        for name in dict.fromkeys(target(each["TopicArn"]) for each in self._subscriptions):
            yield f"{name}{{{{SNS: {_words(name, 'Topic') or 'requests'}}}}}"
        for source in self._sources:
            queue = target(source["EventSourceArn"])
            properties = self._template.resources[queue].get("Properties", {})
            if self._template.resources[queue]["Type"] == "AWS::SQS::Queue":
                dlq = " with a DLQ" if "RedrivePolicy" in properties else ""
                yield f"{queue}[[SQS: {_words(queue, 'ConsumerQueue')}{dlq}]]"

    def edges(self) -> Iterator[str]:
        """Yield a line of Mermaid for each edge between two nodes."""
        for permission in self._template.all("AWS::Lambda::Permission").values():
            if permission["Principal"] == "apigateway.amazonaws.com":
                yield f"bot -->|API Gateway| {self._functions[target(permission['FunctionName'])]}"
        for source in self._sources:
            queue = target(source["EventSourceArn"])
            stream = self._template.resources[queue]["Type"] == "AWS::DynamoDB::GlobalTable"
            yield f"{queue} -->{'|stream|' if stream else ''} {self._functions[target(source['FunctionName'])]}"
        for schedule in self._template.all("AWS::Scheduler::Schedule").values():
            reconciler = self._functions[target(schedule["Target"]["Arn"])]
            yield f"schedule([{schedule['ScheduleExpression'].replace('(', ' ').strip(')')}]) --> {reconciler}"
        for subscription in self._subscriptions:
            yield self._subscribed(subscription)
        for destination in self._template.all("AWS::SES::ConfigurationSetEventDestination").values():
            yield f"ses([SES]) -->|bounces| {target(destination['EventDestination']['SnsDestination']['TopicARN'])}"
        for folder in self._folders:
            yield from self._does(folder)

    def _subscribed(self, subscription: Properties) -> str:
        topic, endpoint = target(subscription["TopicArn"]), target(subscription["Endpoint"])
        if subscription["Protocol"] == "lambda":
            return f"{topic} --> {self._functions[endpoint]}"
        return f"{topic} -->|{' or '.join(subscription['FilterPolicy']['channels'])}| {endpoint}"

    def _does(self, folder: str) -> Iterator[str]:
        _, function = self._template.function(folder)
        for statement in self._template.statements(target(function["Role"])):
            actions = set(as_list(statement["Action"]))
            if "sns:Publish" in actions:
                yield f"{folder} --> {target(statement['Resource'])}"
            if actions & WRITES:
                yield f"{folder} {'-->|one write|' if folder == 'api' else '-.->'} {target(statement['Resource'])}"
            if "ses:SendEmail" in actions:
                yield f"{folder} --> ses([SES])"
            if "secretsmanager:GetSecretValue" in actions:
                destination = folder.removesuffix(SUFFIX)
                yield (
                    f"{folder} -->|signed POST| bot"
                    if destination == CALLBACK
                    else f"{folder} --> {destination}([{destination.title()}])"
                )


def _words(logical_id: str, kind: str) -> str:
    """The words of a logical id in CamelCase, without its kind and the hash that the CDK adds."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", logical_id[:-8].removesuffix(kind)).lower()


def _fenced(kind: str, lines: list[str]) -> str:
    return "\n".join([f"```mermaid\n{kind}", *(f"    {line}" for line in lines), "```\n"])


PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    ROOT / "docs/tour.md": architecture,
    ROOT / "docs/calling.md": statuses,
}


def page(path: Path) -> str:
    """The content of the page at `path`, with the current diagram in the diagram's place."""
    before, start, rest = path.read_text("utf-8").partition(START)
    _, end, after = rest.partition(END)
    assert start, f"{path} has no place for its diagram"
    assert end, f"{path} has no end of its diagram"
    return before + START + PAGES[path]() + END + after


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page(path), "utf-8")
