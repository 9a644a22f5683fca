"""The settings of a stage, with their defaults, limits and descriptions."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from assistance.routing import ROUTES, Channel, Route
from infra.addresses import domain
from infra.config.values import (
    CERTIFICATE,
    DOMAIN,
    Email,
    LogRetention,
    PythonVersion,
    Topic,
    account_number,
    blank_is_none,
    from_json,
    known_region,
    labels,
    traced,
    valid_https_url,
    valid_public_url,
)
from infra.routes import MAX_RECIPIENTS, members, sound, split

PYTHON_VERSION: Final = "3.13"
"""Of every deployed function, unless the deployer chooses another: the runtime, and the wheels in its bundle."""


class Settings(BaseModel):
    """The settings of a stage. Each field is the context key of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["dev", "staging", "production"] = Field(
        "dev", description="Which stage: several may share an account. Production keeps its data when it is destroyed."
    )
    account: Annotated[
        Annotated[str, StringConstraints(pattern=r"^\d{12}$")] | None, BeforeValidator(account_number)
    ] = Field(None, description="The number of the AWS account for this stage; make deploy refuses all others.")
    region: Annotated[str | None, AfterValidator(known_region), BeforeValidator(blank_is_none)] = Field(
        None, description="The AWS region of this stage, whatever the credentials' default is."
    )
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
        Annotated[str, StringConstraints(pattern=r"^A[A-Z0-9]{2,}$")] | None, BeforeValidator(blank_is_none)
    ] = Field(None, description="The Slack app's id: with it, the stack refuses presses of another app's buttons.")
    email_sender: Email = Field("assistance@example.com", description="The address that SES sends from.")
    email_sender_name: str = Field(
        "", max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$", description="The name that mails show as their sender."
    )
    email_domain: Annotated[str | None, AfterValidator(domain), BeforeValidator(blank_is_none)] = Field(
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
        Mapping[Topic, Annotated[Route, BeforeValidator(members), AfterValidator(sound)]], BeforeValidator(from_json)
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
    public_url: Annotated[str | None, AfterValidator(valid_public_url), BeforeValidator(blank_is_none)] = Field(
        None,
        description="Where humans reach the API, such as https://api.your.org/assistance, if a custom domain stands "
        "before it: links in mails and cards lead there.",
    )
    domain_name: Annotated[Annotated[str, StringConstraints(pattern=DOMAIN)] | None, BeforeValidator(blank_is_none)] = (
        Field(None, description="A domain of your own that bots call the API by, such as api.your.org.")
    )
    certificate_arn: Annotated[
        Annotated[str, StringConstraints(pattern=CERTIFICATE)] | None, BeforeValidator(blank_is_none)
    ] = Field(None, description="The certificate of domain_name, in Certificate Manager in the stack's own region.")
    base_path: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")] | None, BeforeValidator(blank_is_none)
    ] = Field(None, description="The path under domain_name where the API is; without it, the domain's root.")
    operator_email: Annotated[Email | None, BeforeValidator(blank_is_none)] = Field(
        None, description="Who gets the alarms; confirm the subscription that SNS mails."
    )
    operator_url: Annotated[str | None, AfterValidator(valid_https_url), BeforeValidator(blank_is_none)] = Field(
        None,
        description="Where else pages go, over https: the address that PagerDuty, Opsgenie or the like gives for "
        "CloudWatch or SNS. It confirms the subscription by itself.",
    )
    runbook_url: str = Field(
        "docs/operations.md", pattern=r"^\S+$", description="Where docs/operations.md can be opened: alarms link to it."
    )
    alarms: Annotated[bool | None, BeforeValidator(blank_is_none)] = Field(
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
    quota_per_day: Annotated[int | None, BeforeValidator(blank_is_none)] = Field(
        None, ge=1, description="Calls a day that a key may make; without it, as many as the throttle lets through."
    )
    api_keys: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,20}$")], ...], BeforeValidator(labels)
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
    tracing: Annotated[Literal["off", "api", "all"], BeforeValidator(traced)] = Field(
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
    rollback_minutes: Annotated[int | None, BeforeValidator(blank_is_none)] = Field(
        None,
        ge=0,
        le=180,
        description="How long after a deployment CloudFormation rolls it back if a page goes off, once the output "
        "RollbackConfiguration is given to it: see docs/deployment.md.",
    )
    local: bool = Field(False, description="Set by `make run`: no account, no bootstrap stack.")  # noqa: FBT003
