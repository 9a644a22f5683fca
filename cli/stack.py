"""Finds the parts of a deployed stack: its outputs, queues, table and functions."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.routing import CALLBACK, Channel
from assistance.store.requests import Requests
from assistance.store.table import Items
from cli.errors import Failure

if TYPE_CHECKING:
    from boto3.session import Session
    from mypy_boto3_sqs import SQSClient

_HEADER: Final = re.compile(r"[!-~]+")
LOCAL: Final = Path(__file__).resolve().parent.parent / ".local" / "stack.json"
_CHOOSE: Final = "pass --stack assistance-<stage> or set ASSISTANCE_STACK; for the stack of 'make run', pass --local"
# A logical id: the folder's name in capitals, and what the CDK adds.
_FUNCTION: Final = re.compile(r"([A-Z]\w*?)Function(?:[0-9A-F]{8})?$")
_BETWEEN: Final = re.compile(r"(?<!^)(?=[A-Z])")
_PATIENT: Final = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
# Longer than any function's own timeout. Never repeated: the first run may still be under way.
_INVOKE: Final = Config(connect_timeout=5, read_timeout=70, retries={"mode": "standard", "total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """A dead-letter queue of a channel or of the callback.

    `kind` is `delivery` for what a consumer gave up, and `subscription` for what SNS could not put into the queue.
    """

    channel: str
    kind: str
    url: str


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed stack, by its CloudFormation outputs."""

    name: str
    session: "Session"
    endpoint_url: str | None
    outputs: Mapping[str, str]

    def sqs(self) -> "SQSClient":
        """The queues."""
        return self.session.client("sqs", endpoint_url=self.endpoint_url, config=_PATIENT)

    def requests(self) -> Requests:
        """The requests in the table."""
        resource = self.session.resource("dynamodb", endpoint_url=self.endpoint_url, config=_PATIENT)
        return Requests(Items(resource.Table(self.output("TableName"))))

    def queue_url(self, channel: str) -> str:
        """The channel's queue."""
        return self.output(f"{channel.capitalize()}QueueUrl")

    def channels(self) -> list[Channel]:
        """The channels that are deployed."""
        return [channel for channel in Channel if f"{channel.capitalize()}QueueUrl" in self.outputs]

    def dlqs(self, channel: str | None = None) -> list[DeadLetterQueue]:
        """The dead-letter queues of that channel, or of all."""
        return [
            DeadLetterQueue(each, kind, self.output(f"{each.capitalize()}{output}"))
            for each in ([channel] if channel else [*self.channels(), CALLBACK])
            for kind, output in (("delivery", "DlqUrl"), ("subscription", "SubscriptionDlqUrl"))
        ]

    def output(self, name: str) -> str:
        """An output of the stack."""
        try:
            return self.outputs[name]
        except KeyError:
            raise Failure(f"the stack {self.name} has no output {name}: it is another program's, or outdated") from None

    @property
    def title(self) -> str:
        """The stack's name and region, for operators."""
        return f"{self.name}, {'of make run' if self.endpoint_url else f'in {self.session.region_name}'}"

    def operator_or_unknown(self) -> str:
        """The ARN of whose credentials these are; no command fails because STS does not answer.

        https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
        """
        try:
            return str(self.client("sts").get_caller_identity()["Arn"])
        except AWS_ERRORS:
            return "unknown"

    def reconcile(self, *, dry_run: bool) -> dict[str, Any]:
        """Invoke the deployed reconciler once, and return its answer."""
        answer: dict[str, Any] = self.invoke("reconciler", {"dry_run": dry_run})
        return answer

    def invoke(self, folder: str, event: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Invoke the deployed function that runs this folder once, and return its answer. Raises `Failure`."""
        functions = self.session.client("lambda", endpoint_url=self.endpoint_url, config=_INVOKE)
        invoked = functions.invoke(FunctionName=self.function(folder), Payload=json.dumps(event))
        answer = json.loads(invoked["Payload"].read())
        if "FunctionError" in invoked:
            kind = answer.get("errorType", "unknown") if isinstance(answer, dict) else "unknown"
            raise Failure(f"{folder} failed ({kind}): its log says why")
        return answer

    def function(self, folder: str) -> str:
        """The name of the deployed function that runs this folder. Raises `Failure`."""
        if name := self.functions().get(folder):
            return name
        raise Failure(f"the stack {self.name} has no {folder}: deploy it again")

    def functions(self) -> dict[str, str]:
        """The names of the deployed functions by the folders that they run."""
        found = {_FUNCTION.match(id_): name for id_, name in self.resources("AWS::Lambda::Function").items()}
        return {_BETWEEN.sub("_", match[1]).lower(): name for match, name in found.items() if match}

    def resources(self, kind: str) -> dict[str, str]:
        """The physical ids of the stack's resources of this type, by logical id."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages.paginate(StackName=self.name)
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == kind
        }

    def environment(self, folder: str) -> dict[str, str]:
        """Return the environment variables of the function that runs this folder."""
        found = self.client("lambda").get_function_configuration(FunctionName=self.function(folder))
        variables: dict[str, str] = found["Environment"]["Variables"]
        return variables

    def api_key(self) -> str:
        """The newest key of the API. Raises `Failure` if no header can hold it: Python's own error would quote it."""
        found = self.client("apigateway").get_api_key(apiKey=self.output("ApiKeyId"), includeValue=True)
        key = str(found["value"])
        if not _HEADER.fullmatch(key):
            raise Failure("the API key holds a character that no HTTP header can hold: change the key")
        return key

    def for_a_bot(self) -> dict[str, str]:
        """Return what a bot needs, by the documented names. The first signing key is the current one."""
        secret = self.client("secretsmanager").get_secret_value(SecretId=self.output("CallbackSecretArn"))
        key = str(secret["SecretString"]).split()[0]
        return {"API_URL": self.output("ApiUrl"), "API_KEY": self.api_key(), "CALLBACK_SECRET": key}

    def client(self, service: Any) -> Any:  # noqa: ANN401
        """A client of that service, where the stack is."""
        return self.session.client(service, endpoint_url=self.endpoint_url, config=_PATIENT)


def deployed(name: str | None, *, profile: str | None, region: str | None) -> Stack:
    """The stack of that name, found by the ordinary AWS configuration. Raises `Failure` and what boto3 raises."""
    session = boto3.Session(profile_name=profile, region_name=region)
    if name is None:
        raise Failure(f"no stack is chosen: {_CHOOSE}{_those_in(session)}")
    return _found(name, session, None)


def local() -> Stack:
    """The stack that `make run` has running on this machine. Raises `Failure` and what boto3 raises."""
    try:
        document = json.loads(LOCAL.read_text("utf-8"))
    except FileNotFoundError:
        raise Failure("no local stack runs: start one with 'make run'") from None
    # The emulator's own: no real ones are sent.
    session = boto3.Session(**document["credentials"], region_name=document["region"])
    try:
        found = _found(document["stack_name"], session, document["aws_endpoint_url"])
    except EndpointConnectionError as error:
        raise Failure("the local stack does not answer: start it again with 'make run'") from error
    # The template's is an address of AWS's.
    return replace(found, outputs={**found.outputs, "ApiUrl": document["api_url"]})


def _found(name: str, session: "Session", endpoint_url: str | None) -> Stack:
    try:
        cloudformation = session.client("cloudformation", endpoint_url=endpoint_url, config=_PATIENT)
        stacks = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        # Its answer to a name that no stack bears:
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html
        if error_code(error) != "ValidationError":
            raise
        others = _those_in(session) if endpoint_url is None else ""
        region = session.region_name
        raise Failure(f"there is no stack {name} in {region}: pass --stack, --region or --profile{others}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
    return Stack(name, session, endpoint_url, outputs)


def _those_in(session: "Session") -> str:
    """The names of this application's stacks there, by their tag; nothing if AWS does not say."""
    try:
        pages = session.client("cloudformation", config=_PATIENT).get_paginator("describe_stacks").paginate()
        names = [
            stack["StackName"]
            for page in pages
            for stack in page["Stacks"]
            if {"Key": "application", "Value": "assistance"} in stack.get("Tags", [])
        ]
    except AWS_ERRORS:
        # Whoever has no credentials may yet choose the local stack.
        return ""
    return f". In {session.region_name} there are: {', '.join(sorted(names))}" if names else ""
