"""Reads from AWS what the checks before a deployment need to know about the account, the region and the stack."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from boto3.session import Session
from botocore.config import Config as Patience
from botocore.exceptions import ClientError

from assistance.platform.aws import error_code

Clients = Callable[[str], Any]
PATIENCE: Final = Patience(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


@dataclass(frozen=True, slots=True)
class Caller:
    """The account, and the user or role, to which the credentials belong."""

    account: str
    arn: str


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of a stack: its CloudFormation type, its physical name, and its status."""

    kind: str
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """The stack's state in CloudFormation. `protected`: whether termination protection is on."""

    name: str
    status: str
    protected: bool = False
    resources: tuple[Resource, ...] = ()

    def names(self, kind: str) -> list[str]:
        """The physical names of the stack's existing resources of that type."""
        # A resource whose creation failed may have no name.
        found = [each for each in self.resources if each.kind == kind and each.status != "DELETE_COMPLETE"]
        return [each.name for each in found if each.name]


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the rules of `preflight.py` check.

    `node`: the major version of Node.js, or 0. `has_ses`: whether the region has SES. `bootstrap`: the version of the
    CDK's bootstrap stack, or None. `identity_exists`: whether SES has the sender's identity. `concurrency`: how many
    functions Lambda runs at once in the account. `stack`: None if it is not deployed.
    """

    node: int
    has_ses: bool
    bootstrap: int | None
    identity_exists: bool
    concurrency: int
    stack: DeployedStack | None


def caller(clients: Clients) -> Caller:
    """Return the owner of the credentials. Raises what boto3 raises."""
    identity = clients("sts").get_caller_identity()
    return Caller(identity["Account"], identity["Arn"])


def gathered(clients: Clients, *, stack: str, identity: str | None, qualifier: str, has_ses: bool) -> Facts:
    """Read from AWS what the checks before a deployment need to know. Raises what boto3 raises.

    `identity`: the sender in SES. `qualifier`: that of the CDK's bootstrap. `has_ses`: whether the region has SES.
    """
    settings = clients("lambda").get_account_settings()
    return Facts(
        node=node_version(),
        has_ses=has_ses,
        bootstrap=_bootstrap(clients, qualifier),
        identity_exists=bool(has_ses and identity and _identity_exists(clients, identity)),
        # https://docs.aws.amazon.com/lambda/latest/api/API_AccountLimit.html
        concurrency=settings["AccountLimit"]["UnreservedConcurrentExecutions"],
        stack=_stack(clients, stack),
    )


def clients_of(session: Session, region: str) -> Clients:
    """A function that returns the client of a service in that region, with timeouts of a few seconds."""
    return lambda service: session.client(service, region_name=region, config=PATIENCE)  # type: ignore[call-overload]


def ses_is_in(session: Session, region: str) -> bool:
    """Whether the region has SES, by the SDK's list: https://docs.aws.amazon.com/general/latest/gr/ses.html."""
    partition = session.get_partition_for_region(region)
    return region in session.get_available_regions("sesv2", partition_name=partition)


def reader(session: Session, account: str, region: str, qualifier: str) -> Session:
    """A session with the CDK's lookup role, which may read everything, because a pipeline's role often may not.

    https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html#bootstrapping-env-roles
    """
    partition = session.get_partition_for_region(region)
    role = f"arn:{partition}:iam::{account}:role/cdk-{qualifier}-lookup-role-{account}-{region}"
    sts = session.client("sts", region_name=region, config=PATIENCE)
    given = sts.assume_role(RoleArn=role, RoleSessionName="assistance-deployment")["Credentials"]
    return Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=region)


def node_version() -> int:
    """The major version of the Node.js on the PATH, or 0 if there is none."""
    if not shutil.which("node"):
        return 0
    said = subprocess.run(("node", "--version"), check=False, capture_output=True, text=True).stdout
    major = said.removeprefix("v").partition(".")[0]
    return int(major) if major.isdecimal() else 0


def _bootstrap(clients: Clients, qualifier: str) -> int | None:
    ssm = clients("ssm")
    try:
        return int(ssm.get_parameter(Name=f"/cdk-bootstrap/{qualifier}/version")["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None


def _identity_exists(clients: Clients, identity: str) -> bool:
    ses = clients("sesv2")
    try:
        ses.get_email_identity(EmailIdentity=identity)
    except ses.exceptions.NotFoundException:
        return False
    return True


def _stack(clients: Clients, name: str) -> DeployedStack | None:
    cloudformation = clients("cloudformation")
    try:
        (found,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        # CloudFormation answers with ValidationError if no stack has the name:
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html
        if error_code(error) != "ValidationError":
            raise
        return None
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    resources = tuple(
        Resource(each["ResourceType"], each.get("PhysicalResourceId", ""), each["ResourceStatus"])
        for page in pages
        for each in page["StackResourceSummaries"]
    )
    return DeployedStack(name, found["StackStatus"], bool(found.get("EnableTerminationProtection")), resources)
