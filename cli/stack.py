"""Finds the parts of a deployed stack: its outputs, queues, table and functions."""

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, NoRegionError
from botocore.session import get_session

from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.response_parsers import Parsers, UnreadableAnswer
from assistance.routing import CALLBACK, Channel
from assistance.store.requests import Requests
from assistance.store.table import Items
from cli.errors import Failure
from console.origin_checks import HOST

if TYPE_CHECKING:
    from boto3.session import Session
    from mypy_boto3_sqs import SQSClient

_HEADER: Final = re.compile(r"[!-~]+")
LOCAL: Final = Path(__file__).resolve().parent.parent / ".local" / "stack.json"
_HOW_TO_CHOOSE: Final = (
    "pass --stack assistance-<stage> or set ASSISTANCE_STACK; for the stack that 'make run' started, pass --local"
)
# The logical id of a function in the template: the name of its folder in CamelCase, then the CDK's suffix.
_FUNCTION: Final = re.compile(r"([A-Z]\w*?)Function(?:[0-9A-F]{8})?$")
_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")
_WITH_RETRIES: Final = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
# Longer than the timeout of each Lambda function. The call is never repeated: the first run may not have ended yet.
_INVOKE: Final = Config(connect_timeout=5, read_timeout=70, retries={"mode": "standard", "total_max_attempts": 1})


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """A dead-letter queue of a channel or of the callback.

    `kind` is `delivery` for messages that a consumer gave up, and `subscription` for messages that SNS could not put
    into the consumer's queue.
    """

    channel: str
    kind: str
    url: str


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed stack: its name, its CloudFormation outputs, and how to call AWS for it.

    `endpoint_url` is the address of the local emulator, or None for AWS.
    """

    name: str
    session: "Session"
    endpoint_url: str | None
    outputs: Mapping[str, str]

    def sqs(self) -> "SQSClient":
        """A client for SQS."""
        return self.session.client("sqs", endpoint_url=self.endpoint_url, config=_WITH_RETRIES)

    def requests(self) -> Requests:
        """Return access to the requests in the stack's table."""
        resource = self.session.resource("dynamodb", endpoint_url=self.endpoint_url, config=_WITH_RETRIES)
        return Requests(Items(resource.Table(self.output("TableName"))))

    def queue_url(self, channel: str) -> str:
        """The URL of the channel's queue."""
        return self.output(f"{channel.capitalize()}QueueUrl")

    def channels(self) -> list[Channel]:
        """The channels that are deployed."""
        return [channel for channel in Channel if f"{channel.capitalize()}QueueUrl" in self.outputs]

    def dlqs(self, channel: str | None = None) -> list[DeadLetterQueue]:
        """The dead-letter queues of that channel; if it is None, of all deployed channels and the callback."""
        return [
            DeadLetterQueue(each, kind, self.output(f"{each.capitalize()}{output}"))
            for each in ([channel] if channel else [*self.channels(), CALLBACK])
            for kind, output in (("delivery", "DlqUrl"), ("subscription", "SubscriptionDlqUrl"))
        ]

    def output(self, name: str) -> str:
        """The value of the stack's output with that name. Raises `Failure` if the stack has no such output."""
        try:
            return self.outputs[name]
        except KeyError:
            outputs = ", ".join(sorted(self.outputs))
            raise Failure(
                f"the stack {self.name} has no output {name}: it has {outputs}. To get new ones, deploy it again"
            ) from None

    def resolves(self, url: str = "ApiUrl") -> bool:
        """Whether this machine finds an address for the name in the output `url`.

        A custom domain has an address only by a DNS record. In a network with a proxy, perhaps no name has one.
        """
        try:
            socket.getaddrinfo(urlsplit(self.output(url)).hostname, None)
        except socket.gaierror:
            return False
        return True

    @property
    def title(self) -> str:
        """The stack's name and where it runs, to print for operators."""
        where = "started by make run" if self.endpoint_url else f"in {self.session.region_name}"
        return f"{self.name} ({where})"

    def operator_or_unknown(self) -> str:
        """The ARN of the user or role whose credentials are in use; `unknown` if STS does not answer.

        https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
        """
        try:
            return str(self.client("sts").get_caller_identity()["Arn"])
        except AWS_ERRORS:
            return "unknown"

    def reconcile(self, *, dry_run: bool) -> dict[str, Any]:
        """Invoke the deployed reconciler once, and return its answer; with `dry_run` it changes nothing."""
        answer: dict[str, Any] = self.invoke("reconciler", {"dry_run": dry_run})
        return answer

    def invoke(self, folder: str, event: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Invoke the deployed function of `functions/<folder>` once, and return its answer. Raises `Failure`."""
        functions = self.session.client("lambda", endpoint_url=self.endpoint_url, config=_INVOKE)
        invoked = functions.invoke(FunctionName=self.function(folder), Payload=json.dumps(event))
        answer = json.loads(invoked["Payload"].read())
        if "FunctionError" in invoked:
            kind = answer.get("errorType", "unknown") if isinstance(answer, dict) else "unknown"
            raise Failure(f"{folder} failed ({kind}): its log says why")
        return answer

    def function(self, folder: str) -> str:
        """The name of the deployed function of `functions/<folder>`. Raises `Failure` if there is none."""
        if name := self.functions().get(folder):
            return name
        raise Failure(f"the stack {self.name} has no {folder}: deploy it again")

    def functions(self) -> dict[str, str]:
        """The names of the deployed functions, by the folders in `functions/` that have their code."""
        found = {_FUNCTION.match(id_): name for id_, name in self.resources("AWS::Lambda::Function").items()}
        return {_WORD_START.sub("_", match[1]).lower(): name for match, name in found.items() if match}

    def resources(self, kind: str) -> dict[str, str]:
        """The physical ids of the stack's resources of this CloudFormation type, by logical id."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages.paginate(StackName=self.name)
            for resource in page["StackResourceSummaries"]
            # While CloudFormation creates a resource, it may have no physical id yet.
            if resource["ResourceType"] == kind and resource.get("PhysicalResourceId")
        }

    def environment(self, folder: str) -> dict[str, str]:
        """Return the environment variables of the deployed function of `functions/<folder>`."""
        found = self.client("lambda").get_function_configuration(FunctionName=self.function(folder))
        variables: dict[str, str] = found["Environment"]["Variables"]
        return variables

    def api_key(self) -> str:
        """The newest key of the API.

        Raises `Failure` if the key can't be a header's value, because Python's own exception would contain the key.
        """
        found = self.client("apigateway").get_api_key(apiKey=self.output("ApiKeyId"), includeValue=True)
        key = str(found["value"])
        if not _HEADER.fullmatch(key):
            raise Failure("the API key holds a character that no HTTP header can hold: change the key")
        return key

    def client(self, service: Any) -> Any:  # noqa: ANN401
        """A client for that AWS service, in the stack's region and with its credentials."""
        return self.session.client(service, endpoint_url=self.endpoint_url, config=_WITH_RETRIES)


def deployed(name: str | None, *, profile: str | None, region: str | None) -> Stack:
    """The stack of that name in AWS. Raises `Failure` and what boto3 raises.

    boto3 takes the credentials, and a profile or region that is None, from the usual environment variables and
    profiles. The name has no default: None raises `Failure`.
    """
    session = new_session(profile, region)
    if name is None:
        raise Failure(f"no stack is chosen: {_HOW_TO_CHOOSE}{_other_stacks(session)}")
    return _found(name, session, None)


def new_session(profile: str | None, region: str | None) -> "Session":
    """A session of boto3. Raises `NoRegionError` for an empty region, `Failure` for an endpoint that is no URL.

    boto3 itself raises a `ValueError` for both, which says nothing about the cause.
    """
    session = _session(profile_name=profile, region_name=region)
    if session.region_name == "":
        raise NoRegionError
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and not urlsplit(endpoint).hostname:
        raise Failure(
            f"AWS_ENDPOINT_URL is {endpoint!r}, which is no URL: begin it with https:// or http://, or unset it"
        )
    return session


def local() -> Stack:
    """The stack that `make run` started on this machine. Raises `Failure` and what boto3 raises."""
    try:
        document = json.loads(LOCAL.read_text("utf-8"))
    except FileNotFoundError:
        raise Failure("no local stack runs: start one with 'make run'") from None
    call_this_machine_directly()
    # The credentials that the emulator accepts, so that the operator's real ones are never sent to it.
    session = _session(**document["credentials"], region_name=document["region"])
    try:
        found = _found(document["stack_name"], session, document["aws_endpoint_url"])
    except (EndpointConnectionError, UnreadableAnswer) as error:
        raise Failure("the local stack does not answer: start it again with 'make run'") from error
    # The output in the template is an address at amazonaws.com, which the emulator does not serve.
    return replace(found, outputs={**found.outputs, "ApiUrl": document["api_url"]})


def _session(**options: str | None) -> "Session":
    """A session of boto3 that raises `UnreadableAnswer` if another server, such as a proxy, answers instead of AWS."""
    core = get_session()
    core.register_component("response_parser_factory", Parsers())
    return boto3.Session(botocore_session=core, **options)


def call_this_machine_directly() -> None:
    """Let this process call servers on this machine without the proxy that its environment names.

    No proxy can reach them, and it would read the API key and the customers' texts.
    """
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), HOST, "localhost")))


def _found(name: str, session: "Session", endpoint_url: str | None) -> Stack:
    try:
        cloudformation = session.client("cloudformation", endpoint_url=endpoint_url, config=_WITH_RETRIES)
        stacks = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        # CloudFormation answers with ValidationError if no stack has the name:
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html
        if error_code(error) != "ValidationError":
            raise
        others = _other_stacks(session) if endpoint_url is None else ""
        region = session.region_name
        raise Failure(f"there is no stack {name} in {region}: pass --stack, --region or --profile{others}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}
    return Stack(name, session, endpoint_url, outputs)


def _other_stacks(session: "Session") -> str:
    """A sentence that names this application's stacks in the region; empty if there are none or AWS does not answer."""
    try:
        pages = session.client("cloudformation", config=_WITH_RETRIES).get_paginator("describe_stacks").paginate()
        names = [
            stack["StackName"]
            for page in pages
            for stack in page["Stacks"]
            if {"Key": "application", "Value": "assistance"} in stack.get("Tags", [])
        ]
    except AWS_ERRORS:
        # The error message must still appear without credentials: the operator may want the local stack.
        return ""
    return f". In {session.region_name} there are: {', '.join(sorted(names))}" if names else ""
