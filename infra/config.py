"""Everything that a deployer chooses, as CDK context: `cdk deploy -c stage=production -c email_sender=…`."""

import difflib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from assistance.routing import RetryPolicy

PYTHON_VERSION = "3.13"
"""Of every deployed function: the runtime, and the wheels in its bundle."""

_RETRY = RetryPolicy()
_EXAMPLE_DOMAIN = "@example.com"

Email = Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")]


def _addresses(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


class InvalidConfig(Exception):
    """The context can't be deployed; the message says which keys are wrong, and why."""


class Config(BaseModel):
    """What is deployed. Each field is the context key of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["dev", "staging", "production"] = Field(
        "dev", description="Which stage: several may share an account. Production keeps its data when it is destroyed."
    )
    slack_channel: str = Field(
        "assistance", min_length=1, description="Id (preferred: looking up what was posted needs it) or name."
    )
    slack_api_url: str = Field(
        "https://slack.com/api/", pattern=r"^https?://.+/$", description="For GovSlack and proxies; ends with a slash."
    )
    email_sender: Email = Field("assistance@example.com", description="The address that SES sends from.")
    email_recipients: Annotated[tuple[Email, ...], BeforeValidator(_addresses)] = Field(
        ("team@example.com",),
        min_length=1,
        max_length=50,  # https://docs.aws.amazon.com/ses/latest/dg/quotas.html
        description="Who gets the requests that go by email; separated by commas.",
    )
    operator_email: Annotated[Email | None, BeforeValidator(_blank_is_none)] = Field(
        None, description="Who gets the alarms; confirm the subscription that SNS mails."
    )
    retention_days: int = Field(90, ge=30, description="How long a request is kept: longer than any dead letter.")
    grace_seconds: int = Field(60, ge=1, description="How long the stream has before the reconciler publishes.")
    reconcile_interval_minutes: int = Field(1, ge=1, description="How often the reconciler runs.")
    retry_attempts: int = Field(_RETRY.attempts, ge=1, le=100, description="How often a delivery is attempted.")
    retry_first_delay: int = Field(_RETRY.first_delay, ge=0, description="Seconds before a second attempt, at most.")
    retry_max_delay: int = Field(
        _RETRY.max_delay, ge=0, le=43_200, description="Seconds between two attempts, at most."
    )
    retry_doubt_delay: int = Field(
        _RETRY.doubt_delay, ge=0, le=900, description="Seconds before an attempt after one that is in doubt, at least."
    )
    overdue_seconds: int = Field(
        900, ge=60, description="How long after it was due an attempt counts as lost, if its queue is empty."
    )
    throttle_rate: int = Field(100, ge=1, description="Calls a second that a key may make.")
    throttle_burst: int = Field(200, ge=1, description="Calls at once that a key may make.")
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html#events-sqs-max-concurrency
    consumer_max_concurrency: int = Field(2, ge=2, le=1_000, description="Batches in process at once, per channel.")
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 180, 365] = Field(30, description="How long logs are kept.")
    local: bool = Field(False, description="Set by `make run`: no account, no bootstrap stack.")  # noqa: FBT003

    @model_validator(mode="after")
    def _real_addresses(self) -> Self:
        examples = [a for a in (self.email_sender, *self.email_recipients) if a.endswith(_EXAMPLE_DOMAIN)]
        if self.stage == "production" and examples and not self.local:
            raise ValueError("set email_sender and email_recipients: production can't send from or to example.com")
        return self

    @property
    def production(self) -> bool:
        """Whether data is kept and protected."""
        return self.stage == "production"

    @property
    def retry(self) -> RetryPolicy:
        """How deliveries are retried."""
        return RetryPolicy(self.retry_attempts, self.retry_first_delay, self.retry_max_delay, self.retry_doubt_delay)


def load(try_get_context: Callable[[str], Any], all_context: Mapping[str, Any]) -> Config:
    """The configuration in the CDK context. Raises `InvalidConfig`."""
    values = {name: value for name in Config.model_fields if (value := try_get_context(name)) is not None}
    for name in all_context:
        if ":" not in name and name not in Config.model_fields:
            close = difflib.get_close_matches(name, Config.model_fields, n=1)
            if close:
                raise InvalidConfig(f"Unknown context key '{name}': did you mean '{close[0]}'?")
    if isinstance(values.get("log_retention_days"), str) and values["log_retention_days"].isdecimal():
        values["log_retention_days"] = int(values["log_retention_days"])
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [
            f"  {detail['loc'][0]}: {detail['msg']} (got {detail['input']!r})"
            if detail["loc"]
            else f"  {detail['msg']}"
            for detail in error.errors(include_url=False)
        ]
        raise InvalidConfig(
            "The context can't be deployed:\n" + "\n".join(lines) + "\nSet it with -c key=value or in cdk.json."
        ) from None
