"""Reads the facts about an account and region that the checks before a deployment need."""

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
    """The owner of the credentials."""

    account: str
    arn: str


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of a stack."""

    kind: str
    name: str
    status: str


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """The stack, as CloudFormation has it."""

    name: str
    status: str
    protected: bool = False
    resources: tuple[Resource, ...] = ()

    def names(self, kind: str) -> list[str]:
        """The physical names of its resources of that kind that are there."""
        return [each.name for each in self.resources if each.kind == kind and each.status != "DELETE_COMPLETE"]


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the rules of `preflight.py` check."""

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
    """Ask for everything. Raises what boto3 raises."""
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
    """The session's clients in that region, which answer or fail within seconds."""
    return lambda service: session.client(service, region_name=region, config=PATIENCE)  # type: ignore[call-overload]


def ses_is_in(session: Session, region: str) -> bool:
    """By the SDK's own list of endpoints, which https://docs.aws.amazon.com/general/latest/gr/ses.html shows too."""
    partition = session.get_partition_for_region(region)
    return region in session.get_available_regions("sesv2", partition_name=partition)


def reader(session: Session, account: str, region: str, qualifier: str) -> Session:
    """The bootstrap's role for look-ups, which may read everything: a pipeline's own role may often not.

    https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html#bootstrapping-env-roles
    """
    partition = session.get_partition_for_region(region)
    role = f"arn:{partition}:iam::{account}:role/cdk-{qualifier}-lookup-role-{account}-{region}"
    sts = session.client("sts", region_name=region, config=PATIENCE)
    given = sts.assume_role(RoleArn=role, RoleSessionName="assistance-deployment")["Credentials"]
    return Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name=region)


def node_version() -> int:
    """The major version of the Node on the PATH; 0 without one."""
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
        # Its answer to a name that no stack bears:
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
