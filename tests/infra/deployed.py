"""Reads a template as if it were deployed: resolves intrinsic functions and evaluates policies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from tests.infra.template import Template, target
from tests.recorded_calls import QUEUE, TABLE, Call, variables

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
_HERE: Final = f"{REGION}:{ACCOUNT}"
_PSEUDO: Final = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::URLSuffix": "aws"}
# Each resource type's page says what Ref and Fn::GetAtt return:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
_ATTRIBUTES: Final = {
    ("AWS::ApiGateway::RestApi", "Ref"): "{}",
    ("AWS::DynamoDB::GlobalTable", "Ref"): "{}",
    ("AWS::DynamoDB::GlobalTable", "Arn"): TABLE,
    ("AWS::DynamoDB::GlobalTable", "StreamArn"): TABLE + "/stream/2026-11-24T00:00:00.000",
    ("AWS::IAM::Role", "Arn"): f"arn:aws:iam::{ACCOUNT}:role/{{}}",
    ("AWS::Lambda::Function", "Ref"): "{}",
    ("AWS::Lambda::Function", "Arn"): f"arn:aws:lambda:{_HERE}:function:{{}}",
    ("AWS::Logs::LogGroup", "Arn"): f"arn:aws:logs:{_HERE}:log-group:{{}}:*",
    ("AWS::SecretsManager::Secret", "Id"): f"arn:aws:secretsmanager:{_HERE}:secret:{{}}-a1b2c3",
    ("AWS::SES::ConfigurationSet", "Ref"): "{}",
    ("AWS::SNS::Topic", "Ref"): f"arn:aws:sns:{_HERE}:{{}}",
    ("AWS::SQS::Queue", "Ref"): f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{{}}",
    ("AWS::SQS::Queue", "Arn"): QUEUE,
}
ANYBODY: Final = "anybody@company.io"


@dataclass(frozen=True, slots=True)
class Request:
    """A request to IAM."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()
    why: str = ""


class Untraceable(AssertionError):
    """A function calls a resource that is not named in the function's environment variables."""


@dataclass(frozen=True)
class Deployed:
    """A deployed stack, with invented physical names."""

    template: Template

    def resolve(self, value: Any) -> Any:  # noqa: ANN401
        """The value with its intrinsic functions replaced by their results."""
        match value:
            case {"Ref": name}:
                return _PSEUDO.get(name) or self._attribute(name, "Ref")
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(name, attribute)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(self.resolve(parts))
            case dict():
                return {key: self.resolve(part) for key, part in value.items()}
            case list():
                return [self.resolve(part) for part in value]
        return value

    def _attribute(self, name: str, attribute: str) -> str:
        return _ATTRIBUTES[self.template.resources[name]["Type"], attribute].format(name)

    def role(self, folder: str) -> str:
        """The logical id of the role of the function in this folder."""
        return target(self.template.function(folder)[1]["Role"])

    def statements(self, role: str) -> list[Mapping[str, Any]]:
        """Return the policy statements of a role."""
        found: list[Mapping[str, Any]] = self.resolve(self.template.statements(role))
        return found

    def allows(self, role: str, request: Request) -> bool:
        """Whether IAM allows the role to make this request."""
        policy = parse_policy_document({"Version": "2012-10-17", "Statement": self.statements(role)})
        context = EvalContext(
            principal_arn=self._attribute(role, "Arn"),
            principal_type="AssumedRole",
            principal_account=ACCOUNT,
            action=request.action,
            resource_arn=request.resource,
            region=REGION,
            secure_transport=True,
            service_context={key.lower(): value for key, value in request.context},
        )
        return bool(evaluate(context, [policy]).decision == "Allow")

    @cached_property
    def environments(self) -> dict[str, dict[str, str]]:
        """Return the environment variables of each function, by folder."""
        functions = self.template.all("AWS::Lambda::Function").values()
        return {
            function["Handler"].partition(".")[0]: variables(self.resolve(function["Environment"]["Variables"]))
            for function in functions
        }

    def request(self, call: Call) -> Request:
        """Return the IAM request that the deployed function makes with the recorded call. Or raises `Untraceable`."""

        def deployed(names: Iterable[str]) -> str:
            held = self.environments[call.function]
            values = {held[name] for name in names if name in held}
            if not values and all(name.startswith("ROUTES.") for name in names):
                # The deployer chooses the targets in routes. If a stage has none, its role must allow any target.
                return ANYBODY
            if len(values) != 1:
                raise Untraceable(f"{call}: the deployed variables hold {values or 'nothing of the kind'}")
            return values.pop()

        name = "" if call.resource == "unknown" else deployed(call.variables).removeprefix(_queues())
        context = tuple((key, deployed(names)) for key, names in call.context)
        return Request(call.action, call.resource.format(name), context, "the function calls it")


def _queues() -> str:
    return _ATTRIBUTES["AWS::SQS::Queue", "Ref"].format("")
