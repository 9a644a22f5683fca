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
from infra.routes import MAX_RECIPIENTS, members, split, valid_route

PYTHON_VERSION: Final = "3.13"
"""The default Python version of the deployed functions: of their runtime, and of the wheels in their bundles."""


class Settings(BaseModel):
    """The settings of a stage. Each field is the context key of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["dev", "staging", "production"] = Field(
        "dev",
        description="The stage; several may share an account. If production is destroyed, its data is kept.",
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
        description="The id or the name of the Slack channel. With a name, the consumer can't search the channel for a "
        "message that may have arrived.",
    )
    slack_api_url: str = Field(
        "https://slack.com/api/",
        pattern=r"^https?://\S+/$",
        description="The URL of Slack's Web API, with a slash at the end; other for GovSlack or a proxy.",
    )
    slack_app_id: Annotated[
        Annotated[str, StringConstraints(pattern=r"^A[A-Z0-9]{2,}$")] | None, BeforeValidator(blank_is_none)
    ] = Field(None, description="The Slack app's id. With it, the stack refuses clicks on buttons of another app.")
    email_sender: Email = Field("assistance@example.com", description="The address that SES sends from.")
    email_sender_name: str = Field(
        "", max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$", description="The name that mails show as their sender."
    )
    email_domain: Annotated[str | None, AfterValidator(domain), BeforeValidator(blank_is_none)] = Field(
        None,
        description="The domain of email_sender, such as your.org: SES then verifies and signs for the whole domain. "
        "The stack's outputs name the DNS records for that. Without it, SES verifies only the sender's address.",
    )
    create_email_identity: bool = Field(
        True,  # noqa: FBT003
        description="Whether the stack creates the identity of email_domain or email_sender in SES. An identity can "
        "exist only once in an account and region: false if another stage created it, or somebody verified it by hand.",
    )
    email_recipients: Annotated[tuple[Email, ...], BeforeValidator(split)] = Field(
        ("team@example.com",),
        min_length=1,
        max_length=MAX_RECIPIENTS,
        description="The addresses that get requests by email, separated by commas.",
    )
    routes: Annotated[
        Mapping[Topic, Annotated[Route, BeforeValidator(members), AfterValidator(valid_route)]],
        BeforeValidator(from_json),
    ] = Field(
        default_factory=lambda: dict(ROUTES),
        min_length=1,
        description="The topics and the channels of each, as JSON: see docs/deployment.md. The default is in "
        "functions/assistance/routing.py.",
    )
    channels: Annotated[tuple[Channel, ...], BeforeValidator(split)] = Field(
        (),
        description="Channels to deploy although no route names them. Before you remove a channel, list it here until "
        "its queues are empty.",
    )
    take: bool = Field(
        False,  # noqa: FBT003
        description="Whether humans can take requests, so that others and the bot see who handles one.",
    )
    public_url: Annotated[str | None, AfterValidator(valid_public_url), BeforeValidator(blank_is_none)] = Field(
        None,
        description="The URL with which links in mails and cards begin, such as https://api.your.org/assistance, if a "
        "domain outside of this stack leads to the API.",
    )
    domain_name: Annotated[Annotated[str, StringConstraints(pattern=DOMAIN)] | None, BeforeValidator(blank_is_none)] = (
        Field(None, description="A domain of your own for the API, such as api.your.org.")
    )
    certificate_arn: Annotated[
        Annotated[str, StringConstraints(pattern=CERTIFICATE)] | None, BeforeValidator(blank_is_none)
    ] = Field(None, description="The certificate of domain_name, in Certificate Manager in the stack's own region.")
    base_path: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")] | None, BeforeValidator(blank_is_none)
    ] = Field(None, description="The path under domain_name where the API is; without it, the domain's root.")
    operator_email: Annotated[Email | None, BeforeValidator(blank_is_none)] = Field(
        None, description="The address that gets the alarms; confirm the subscription with the link that SNS mails."
    )
    operator_url: Annotated[str | None, AfterValidator(valid_https_url), BeforeValidator(blank_is_none)] = Field(
        None,
        description="An https URL that also gets the alarms: PagerDuty, Opsgenie and the like give one for CloudWatch "
        "or SNS. They confirm the subscription automatically.",
    )
    runbook_url: str = Field(
        "docs/operations.md", pattern=r"^\S+$", description="Where docs/operations.md can be opened: alarms link to it."
    )
    alarms: Annotated[bool | None, BeforeValidator(blank_is_none)] = Field(
        None,
        description="Whether the stage has alarms, a dashboard and their metrics, which are most of what a stage costs "
        "without requests. Default: false for dev, else true.",
    )
    retention_days: int = Field(
        90,
        ge=30,
        # With millions of days the API would fail at each call, because Python's dates end with the year 9999.
        le=36_500,
        description="How many days the table keeps a request; longer than a queue keeps a dead letter.",
    )
    grace_seconds: int = Field(
        60,
        ge=1,
        le=86_400,
        description="Age in seconds at which the reconciler publishes a request that the stream has not.",
    )
    reconcile_interval_minutes: int = Field(1, ge=1, le=60, description="How often the reconciler runs.")
    # The next four settings default to the retry policies in infra/retries.py: one for channels, one for callbacks.
    retry_attempts: int | None = Field(None, ge=1, le=100, description="Maximum number of attempts at a delivery.")
    retry_first_delay: int | None = Field(
        None, ge=0, description="Maximum delay in seconds before the second attempt; it triples with each attempt."
    )
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
    retry_max_delay: int | None = Field(
        None, ge=0, le=43_200, description="Maximum delay in seconds before any attempt."
    )
    retry_doubt_delay: int | None = Field(
        None,
        ge=0,
        le=900,
        description="Minimum delay in seconds after an attempt whose answer got lost: its message may have arrived.",
    )
    overdue_seconds: int = Field(
        900,
        ge=60,
        # A queue keeps a message for four days, so a message that has not come by then is lost.
        le=345_600,
        description="Seconds after which an attempt that has not happened counts as lost, if its queue is empty.",
    )
    # infra/firewall.py multiplies the rate by 120, and WAF accepts at most 2,000,000,000. The other two are 32-bit
    # integers in API Gateway.
    # https://docs.aws.amazon.com/waf/latest/APIReference/API_RateBasedStatement.html
    # https://docs.aws.amazon.com/apigateway/latest/api/API_ThrottleSettings.html
    throttle_rate: int = Field(100, ge=1, le=16_666_666, description="Calls per second that an API key may make.")
    throttle_burst: int = Field(
        200, ge=1, le=2_147_483_647, description="Calls at the same time that an API key may make."
    )
    quota_per_day: Annotated[int | None, BeforeValidator(blank_is_none)] = Field(
        None,
        ge=1,
        le=2_147_483_647,
        description="Calls per day that an API key may make; without it, only the throttle limits them.",
    )
    api_keys: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,20}$")], ...], BeforeValidator(labels)
    ] = Field(
        ("1",), min_length=1, description="A label for each valid API key, the newest last: see docs/deployment.md."
    )
    access_logs: Literal["off", "on", "account_role"] = Field(
        "off",
        description="Whether API Gateway logs each call, without its body: 'on' if the settings of API Gateway in this "
        "account name a role for logging, 'account_role' to create that role and to set it for the account and region.",
    )
    api_reference: bool | None = Field(
        None,
        description="Whether /openapi.json and Swagger UI at /docs are served, without a key: by default not in "
        "production.",
    )
    waf: bool = Field(False, description="Whether a web ACL protects the API: see infra/firewall.py.")  # noqa: FBT003
    snap_start: bool = Field(
        False,  # noqa: FBT003
        description="Whether the API's function starts from a snapshot (Lambda SnapStart): see infra/api.py.",
    )
    tracing: Annotated[Literal["off", "api", "all"], BeforeValidator(traced)] = Field(
        "api",
        description="What X-Ray traces: 'api' the calls of bots, 'all' also the functions after the API, up to the "
        "delivery. With few requests, 'all' is the largest cost: docs/cost.md.",
    )
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html#events-sqs-max-concurrency
    consumer_max_concurrency: int = Field(
        2, ge=2, le=1_000, description="Batches that run at the same time, per channel."
    )
    # At least 15 s for two calls to a provider, of 8 to 12 s each, and for calls to the table. At most 900 s, because
    # SQS can hide a message for at most 12 h.
    consumer_timeout_seconds: int = Field(
        30,
        ge=15,
        le=900,
        description="How long a consumer may take for a batch. If a consumer is killed, SQS hands out its messages "
        "again after six times as long.",
    )
    log_retention_days: LogRetention = Field(30, description="How many days logs are kept.")
    governed: bool = Field(
        False,  # noqa: FBT003
        description="Whether the account demands an action for each alarm, a KMS key for each log group, and a year of "
        "logs, as Control Tower's hooks do: see infra/governed.py.",
    )
    rollback_minutes: Annotated[int | None, BeforeValidator(blank_is_none)] = Field(
        None,
        ge=0,
        le=180,
        description="For how many minutes after a deployment an alarm makes CloudFormation roll it back, if it gets "
        "the output RollbackConfiguration: see docs/deployment.md.",
    )
    local: bool = Field(False, description="Set by `make run`: the stack is deployed to the local emulator.")  # noqa: FBT003
