"""Everything that a deployer chooses: in `stages/<stage>.json`, or as CDK context (`-c stage=dev -c take=true`)."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from assistance.failures import MAX_RETRY_AFTER
from assistance.routing import (
    CALLBACK,
    DESTINATIONS,
    RETRIES,
    ROUTES,
    TOPIC_PATTERN,
    Channel,
    Destination,
    Place,
    RetryPolicy,
    Route,
    named,
)
from infra.addresses import address, domain
from infra.batches import QUEUES, visibility_timeout
from infra.routes import MAX_RECIPIENTS, SLACK_ID, members, sound, split

if TYPE_CHECKING:
    from aws_cdk import RemovalPolicy

PYTHON_VERSION: Final = "3.13"
"""Of every deployed function, unless the deployer chooses another: the runtime, and the wheels in its bundle."""

QUEUE_RETENTION_DAYS: Final = 4
"""How long a channel's queue keeps a message. SQS then forgets it, so it must be given up before."""

MAX_ROUTES_BYTES: Final = 2_048
"""Of the routes as functions are told them. All of a function's variables may have 4 KB, and the queues are among them.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_DAY_SECONDS = 86_400
# https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-custom-domains.html: in lower case.
DOMAIN: Final = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
CERTIFICATE: Final = r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$"
_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")


def _public(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _URL.fullmatch(value):
        raise ValueError("this is not a URL like https://api.your.org/assistance")
    return value.rstrip("/")


def _https(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]+)?(/[^\s#]*)?", value):
        raise ValueError("this is not a URL that begins with https://")
    return value


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


def _int(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _number(value: object) -> object:
    return f"{value:012d}" if isinstance(value, int) else _blank_is_none(value)


def _version(value: object) -> object:
    # cdk.json may hold it as a number.
    return str(value) if isinstance(value, float) else value


def _labels(value: object) -> object:
    return [str(value)] if isinstance(value, int) else split(value)


def _json(value: object) -> object:
    # `-c` gives strings.
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("this is not JSON") from None


Topic = Annotated[str, StringConstraints(pattern=TOPIC_PATTERN)]
Email = Annotated[str, AfterValidator(address)]
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
LogRetention = Annotated[
    Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
    BeforeValidator(_int),
]
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html: those among them that the code runs on.


def _traced(value: object) -> object:
    """`true` and `false` are what earlier versions knew."""
    return {"true": "all", "false": "off"}.get(str(value).lower(), value)


PythonVersion = Annotated[Literal["3.11", "3.12", "3.13", "3.14"], BeforeValidator(_version)]


NEEDED: Final[Mapping[str, str]] = {
    "account": "the number of its AWS account; make deploy refuses other credentials",
    "region": "its AWS region, such as eu-central-1",
    "operator_email": "the address that gets the alarms",
    "slack_channel": "the id of the Slack channel, such as C0123456789; with a name, nothing can be looked up there",
    "runbook_url": "the whole address (https://…) at which your colleagues open docs/operations.md; alarms link to it",
}
"""The settings that production needs. Nobody would notice a missing one until it is too late."""


class Config(BaseModel):
    """What is deployed. Each field is the context key of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["dev", "staging", "production"] = Field(
        "dev", description="Which stage: several may share an account. Production keeps its data when it is destroyed."
    )
    account: Annotated[Annotated[str, StringConstraints(pattern=r"^\d{12}$")] | None, BeforeValidator(_number)] = Field(
        None, description="The number of the AWS account for this stage; make deploy refuses all others."
    )
    region: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)+-\d+$")] | None, BeforeValidator(_blank_is_none)
    ] = Field(None, description="The AWS region of this stage, whatever the credentials' default is.")
    python_version: PythonVersion = Field(PYTHON_VERSION, description="Which Python the functions run on.")
    slack_channel: str = Field(
        "assistance",
        pattern=r"^\S+$",
        description="The channel's id, or its name; with a name, messages in doubt can't be looked up.",
    )
    slack_api_url: str = Field(
        "https://slack.com/api/", pattern=r"^https?://\S+/$", description="For GovSlack and proxies; ends with a slash."
    )
    slack_app_id: Annotated[
        Annotated[str, StringConstraints(pattern=r"^A[A-Z0-9]{2,}$")] | None, BeforeValidator(_blank_is_none)
    ] = Field(None, description="The Slack app's id: with it, the stack refuses presses of another app's buttons.")
    email_sender: Email = Field("assistance@example.com", description="The address that SES sends from.")
    email_sender_name: str = Field(
        "", max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$", description="The name that mails show as their sender."
    )
    email_domain: Annotated[str | None, AfterValidator(domain), BeforeValidator(_blank_is_none)] = Field(
        None,
        description="The domain of email_sender, such as your.org: SES then verifies and signs for the whole domain. "
        "The DNS records for that are outputs. Without it SES verifies the address of the sender alone.",
    )
    create_email_identity: bool = Field(
        True,  # noqa: FBT003
        description="Whether the stack creates the identity of email_domain or email_sender in SES. An account and "
        "region holds an identity once: false if another stage created it, or somebody verified it by hand.",
    )
    email_recipients: Annotated[tuple[Email, ...], BeforeValidator(split)] = Field(
        ("team@example.com",),
        min_length=1,
        max_length=MAX_RECIPIENTS,
        description="The addresses that get requests by email, separated by commas.",
    )
    routes: Annotated[
        Mapping[Topic, Annotated[Route, BeforeValidator(members), AfterValidator(sound)]], BeforeValidator(_json)
    ] = Field(
        default_factory=lambda: dict(ROUTES),
        min_length=1,
        description="The topics, and where each goes, as JSON: see docs/deployment.md. Without it, as in "
        "assistance/routing.py.",
    )
    channels: Annotated[tuple[Channel, ...], BeforeValidator(split)] = Field(
        (),
        description="Channels to deploy although no route names them: to remove a channel, until it is empty.",
    )
    take: bool = Field(
        False,  # noqa: FBT003
        description="Whether humans can take requests, so that others and the bot see who handles one.",
    )
    public_url: Annotated[str | None, AfterValidator(_public), BeforeValidator(_blank_is_none)] = Field(
        None,
        description="Where humans reach the API, such as https://api.your.org/assistance, if a custom domain stands "
        "before it: links in mails and cards lead there.",
    )
    domain_name: Annotated[
        Annotated[str, StringConstraints(pattern=DOMAIN)] | None, BeforeValidator(_blank_is_none)
    ] = Field(None, description="A domain of your own that bots call the API by, such as api.your.org.")
    certificate_arn: Annotated[
        Annotated[str, StringConstraints(pattern=CERTIFICATE)] | None, BeforeValidator(_blank_is_none)
    ] = Field(None, description="The certificate of domain_name, in Certificate Manager in the stack's own region.")
    base_path: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")] | None, BeforeValidator(_blank_is_none)
    ] = Field(None, description="The path under domain_name where the API is; without it, the domain's root.")
    operator_email: Annotated[Email | None, BeforeValidator(_blank_is_none)] = Field(
        None, description="Who gets the alarms; confirm the subscription that SNS mails."
    )
    operator_url: Annotated[str | None, AfterValidator(_https), BeforeValidator(_blank_is_none)] = Field(
        None,
        description="Where else pages go, over https: the address that PagerDuty, Opsgenie or the like gives for "
        "CloudWatch or SNS. It confirms the subscription by itself.",
    )
    runbook_url: str = Field(
        "docs/operations.md", pattern=r"^\S+$", description="Where docs/operations.md can be opened: alarms link to it."
    )
    alarms: Annotated[bool | None, BeforeValidator(_blank_is_none)] = Field(
        None,
        description="Whether there are alarms, a dashboard and the metrics that they show, which are most of what a "
        "stage costs at rest. Unless it is said, dev has none.",
    )
    retention_days: int = Field(90, ge=30, description="How long a request is kept: longer than any dead letter.")
    grace_seconds: int = Field(60, ge=1, description="How long the stream has before the reconciler publishes.")
    reconcile_interval_minutes: int = Field(1, ge=1, le=60, description="How often the reconciler runs.")
    # Those that are not set are each channel's own: assistance/routing.py.
    retry_attempts: int | None = Field(None, ge=1, le=100, description="How often a delivery is attempted.")
    retry_first_delay: int | None = Field(None, ge=0, description="Seconds before a second attempt, at most.")
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
    retry_max_delay: int | None = Field(None, ge=0, le=43_200, description="Seconds of a back-off, at most.")
    retry_doubt_delay: int | None = Field(
        None, ge=0, le=900, description="Seconds before an attempt after one that is in doubt, at least."
    )
    overdue_seconds: int = Field(
        900, ge=60, description="How long after it was due an attempt counts as lost, if its queue is empty."
    )
    throttle_rate: int = Field(100, ge=1, description="Calls a second that a key may make.")
    throttle_burst: int = Field(200, ge=1, description="Calls at once that a key may make.")
    quota_per_day: Annotated[int | None, BeforeValidator(_blank_is_none)] = Field(
        None, ge=1, description="Calls a day that a key may make; without it, as many as the throttle lets through."
    )
    api_keys: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,20}$")], ...], BeforeValidator(_labels)
    ] = Field(
        ("1",), min_length=1, description="A label for each key that is let in, newest last: see docs/deployment.md."
    )
    access_logs: Literal["off", "on", "account_role"] = Field(
        "off",
        description="Whether API Gateway logs each call, without its body: 'on' where the account's settings name a "
        "role for logging, 'account_role' to create that role and to set it for the whole account and region.",
    )
    api_reference: bool | None = Field(
        None,
        description="Whether /openapi.json and Swagger UI at /docs are served, without a key: by default not in "
        "production.",
    )
    waf: bool = Field(False, description="Whether a web ACL stands before the API: see infra/firewall.py.")  # noqa: FBT003
    snap_start: bool = Field(
        False,  # noqa: FBT003
        description="Whether the API's function starts from a snapshot: see infra/api.py.",
    )
    tracing: Annotated[Literal["off", "api", "all"], BeforeValidator(_traced)] = Field(
        "api",
        description="What X-Ray traces: 'api' the calls of bots, 'all' also what follows, up to the delivery, which "
        "costs most of all with few requests: docs/cost.md.",
    )
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html#events-sqs-max-concurrency
    consumer_max_concurrency: int = Field(2, ge=2, le=1_000, description="Batches in process at once, per channel.")
    # Room for two calls to a provider, of 8 to 12 s each, and for those to the table. SQS hides messages for 12 h.
    consumer_timeout_seconds: int = Field(
        30,
        ge=15,
        le=900,
        description="How long a batch may take. One whose consumer was killed comes again after six times as long.",
    )
    log_retention_days: LogRetention = Field(30, description="How many days logs are kept.")
    governed: bool = Field(
        False,  # noqa: FBT003
        description="Whether the account's hooks want an action for each alarm, a key for each log group, and a year "
        "of logs: see infra/governed.py.",
    )
    rollback_minutes: Annotated[int | None, BeforeValidator(_blank_is_none)] = Field(
        None,
        ge=0,
        le=180,
        description="How long after a deployment CloudFormation rolls it back if a page goes off, once the output "
        "RollbackConfiguration is given to it: see docs/deployment.md.",
    )
    local: bool = Field(False, description="Set by `make run`: no account, no bootstrap stack.")  # noqa: FBT003

    @model_validator(mode="after")
    def _sent_from_the_domain(self) -> Self:
        # A verified domain verifies its subdomains: https://docs.aws.amazon.com/ses/latest/dg/creating-identities.html
        at = self.email_sender.lower().rpartition("@")[2]
        if self.email_domain and not f".{at}".endswith(f".{self.email_domain}"):
            raise ValueError(f"email_sender must be at email_domain: {self.email_sender} is not at {self.email_domain}")
        return self

    @model_validator(mode="after")
    def _deployable(self) -> Self:
        if self.unsaid:
            raise ValueError("\n  ".join(self.unsaid))
        if len(set(self.api_keys)) < len(self.api_keys):
            raise ValueError("api_keys names a key twice")
        if self.slack_api_url.startswith("http:") and not self.local:
            raise ValueError("slack_api_url must be https: the bot token goes there")
        if (self.public_url or "").startswith("http:") and not self.local:
            raise ValueError("public_url must be https: its links let humans in")
        if self.snap_start and not self.can_snap_start:
            raise ValueError("snap_start needs python_version 3.12 or later")
        if not self.take and any(route.escalate_after for route in self.routes.values()):
            raise ValueError("escalate_after needs take=true: without it, nobody can take a request")
        if len(self.routes_variable.encode()) > MAX_ROUTES_BYTES:
            raise ValueError(f"routes take more than {MAX_ROUTES_BYTES} bytes")
        hidden = max(
            visibility_timeout(self.consumer_timeout_seconds, QUEUES[destination]) for destination in self.destinations
        )
        if self.overdue_seconds <= hidden and not self.local:
            raise ValueError(
                f"overdue_seconds must be more than {hidden}: for so long SQS hides the message of a consumer that was "
                "killed, and its delivery is not stuck"
            )
        # Each delay may be lengthened by what a provider asks for.
        retries = map(self.retry, DESTINATIONS)
        delays = max(retry.longest + (retry.attempts - 1) * MAX_RETRY_AFTER for retry in retries)
        if delays > (QUEUE_RETENTION_DAYS - 1) * _DAY_SECONDS:
            raise ValueError(
                f"retry_attempts, retry_first_delay and retry_max_delay add up to {delays / _DAY_SECONDS:.1f} days, "
                f"but the queue forgets a message after {QUEUE_RETENTION_DAYS}: keep them under "
                f"{QUEUE_RETENTION_DAYS - 1}"
            )
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if bool(self.domain_name) != bool(self.certificate_arn):
            raise ValueError("domain_name and certificate_arn need each other")
        if self.base_path and not self.domain_name:
            raise ValueError("base_path needs domain_name")
        if self.domain_name and (self.public_url or self.local):
            raise ValueError("domain_name takes the place of public_url, and the local stack has none")
        return self

    @property
    def production(self) -> bool:
        """Whether data is kept and protected."""
        return self.stage == "production"

    @property
    def single_address(self) -> bool:
        """Whether SES verifies an address for this stage, and no domain, so that it signs nothing as the domain's."""
        return Channel.EMAIL in self.deployed and self.create_email_identity and self.email_domain is None

    @property
    def logs_kept_days(self) -> int:
        """How long logs are kept: in a governed account for a year at least."""
        return max(self.log_retention_days, 365) if self.governed else self.log_retention_days

    @property
    def domain_url(self) -> str | None:
        """Where bots call the API and humans reach it, if it has a domain of its own. Without a slash at the end."""
        if self.domain_name is None:
            return None
        return f"https://{self.domain_name}/{self.base_path or ''}".rstrip("/")

    @property
    def serve_reference(self) -> bool:
        """Whether the API's reference is served."""
        return not self.production if self.api_reference is None else self.api_reference

    @property
    def deployed(self) -> tuple[Channel, ...]:
        """The channels that there are: those that a route names, and `channels`."""
        wanted = {*named(self.routes.values()), *self.channels}
        return tuple(channel for channel in Channel if channel in wanted)

    @property
    def linked(self) -> tuple[Channel, ...]:
        """The channels whose messages hold a link by which humans take requests."""
        return tuple(channel for channel in self.deployed if self.take and channel in {Channel.EMAIL, Channel.TEAMS})

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """The same, and the callback."""
        return (*self.deployed, CALLBACK)

    @property
    def routes_variable(self) -> str:
        """The routes as functions are told them: assistance/routing.py reads it."""
        told = {topic: asdict(route) for topic, route in self.routes.items()}
        for route in told.values():
            for member in ("where", "escalate_after"):
                if not route[member]:
                    del route[member]
        return json.dumps(told, separators=(",", ":"))

    def places(self, channel: Channel) -> tuple[Place, ...]:
        """Where on that channel routes say that they go, without the stage's default."""
        return tuple(dict.fromkeys(route.where[channel] for route in self.routes.values() if channel in route.where))

    @property
    def watched(self) -> bool:
        """Whether somebody looks at this stage: `alarms`, or what its default is here."""
        return self.stage != "dev" if self.alarms is None else self.alarms

    @property
    def can_snap_start(self) -> bool:
        """Of which versions Lambda takes snapshots: https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html."""
        return self.python_version != "3.11"

    @property
    def unsaid(self) -> list[str]:
        """What nobody has said, and production needs."""
        if not self.production or self.local:
            return []
        lacking = {
            "account": not self.account,
            "region": not self.region,
            "operator_email": not self.operator_email,
            "slack_channel": Channel.SLACK in self.deployed and not SLACK_ID.fullmatch(self.slack_channel),
            "runbook_url": not self.runbook_url.startswith(("https://", "http://")),
        }
        unsaid = [f"production needs {key}: {NEEDED[key]}" for key, lacks in lacking.items() if lacks]
        if examples := self.example_addresses:
            unsaid.append(f"production needs real addresses: set {' and '.join(examples)} to other than example.com")
        return unsaid

    @property
    def removal_policy(self) -> "RemovalPolicy":
        """Of what can't be had again: production leaves it when the stack goes, unless the stack never came up."""
        # Here, since the CDK's library starts Node: who only reads settings does without.
        from aws_cdk import RemovalPolicy  # noqa: PLC0415

        return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if self.production else RemovalPolicy.DESTROY

    @property
    def example_addresses(self) -> list[str]:
        """The keys that hold an address which nobody reads."""
        addresses = {
            "email_sender": (self.email_sender,),
            "email_recipients": self.email_recipients,
            "operator_email": (self.operator_email or "",),
            "routes": tuple(address for place in self.places(Channel.EMAIL) for address in place),
        }
        if Channel.EMAIL not in self.deployed:
            del addresses["email_sender"], addresses["email_recipients"]
        return [key for key, values in addresses.items() if any(v.lower().endswith("@example.com") for v in values)]

    def retry(self, channel: Destination) -> RetryPolicy:
        """How that channel's deliveries are retried."""
        limits = {item.name: getattr(self, f"retry_{item.name}") for item in fields(RetryPolicy)}
        return replace(RETRIES[channel], **{name: limit for name, limit in limits.items() if limit is not None})

    @property
    def longest_delays(self) -> int:
        """The longest that all delays of a delivery together can be, in seconds, on the most patient channel."""
        return max(self.retry(channel).longest for channel in self.deployed)
