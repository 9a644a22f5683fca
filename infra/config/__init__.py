"""The configuration of a stage: from `stages/<stage>.json`, or from CDK context (`-c stage=dev -c take=true`).

`settings.py` has the settings, `values.py` the types of their values. This module checks combinations of settings, and
derives other values from them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Final, Self

from pydantic import model_validator

from assistance.failures import MAX_RETRY_AFTER
from assistance.routing import CALLBACK, DESTINATIONS, Channel, Destination, Place, RetryPolicy, named
from infra.batches import QUEUES, visibility_timeout
from infra.config.settings import PYTHON_VERSION as PYTHON_VERSION
from infra.config.settings import Settings
from infra.retries import RETRIES, longest
from infra.routes import SLACK_ID

if TYPE_CHECKING:
    from aws_cdk import RemovalPolicy

QUEUE_RETENTION_DAYS: Final = 4
"""How long a channel's queue keeps a message. SQS then deletes it, so the consumer must give up earlier."""

MAX_ROUTES_BYTES: Final = 2_048
"""Maximum size of the environment variable with the routes. All variables of a function together may have 4 KB.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_DAY_SECONDS = 86_400
NEEDED: Final[Mapping[str, str]] = {
    "account": "the number of its AWS account; make deploy refuses other credentials",
    "region": "its AWS region, such as eu-central-1",
    "operator_email": "the address that gets the alarms",
    "slack_channel": "the id of the Slack channel, such as C0123456789; with a name, the consumer can't search the "
    "channel for a message",
    "runbook_url": "the full URL (https://…) at which your colleagues open docs/operations.md; alarms link to it",
}
"""The settings that production needs, with their meaning. `Config` refuses to deploy production without them."""


class Config(Settings):
    """The settings of a stage, checked against each other, and values that are derived from the settings."""

    @model_validator(mode="after")
    def _sent_from_the_domain(self) -> Self:
        # A verified domain verifies its subdomains: https://docs.aws.amazon.com/ses/latest/dg/creating-identities.html
        at = self.email_sender.lower().rpartition("@")[2]
        if self.email_domain and not f".{at}".endswith(f".{self.email_domain}"):
            raise ValueError(f"email_sender must be at email_domain: {self.email_sender} is not at {self.email_domain}")
        return self

    @model_validator(mode="after")
    def _deployable(self) -> Self:
        if self.production and not self.local and self.lacking:
            raise ValueError("\n  ".join(self.lacking.values()))
        if len(set(self.api_keys)) < len(self.api_keys):
            raise ValueError("api_keys names a key twice")
        if self.slack_api_url.startswith("http:") and not self.local:
            raise ValueError("slack_api_url must be https: the bot token goes there")
        if (self.public_url or "").startswith("http:") and not self.local:
            raise ValueError("public_url must be https: the links in messages contain secret tokens")
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
                f"overdue_seconds must be more than {hidden}: if a consumer is killed, SQS hides its message for so "
                "long, and the delivery continues after that"
            )
        # A provider may lengthen each delay with the header Retry-After.
        retries = map(self.retry, DESTINATIONS)
        delays = max(longest(retry) + (retry.attempts - 1) * MAX_RETRY_AFTER for retry in retries)
        if delays > (QUEUE_RETENTION_DAYS - 1) * _DAY_SECONDS:
            raise ValueError(
                f"retry_attempts, retry_first_delay and retry_max_delay add up to {delays / _DAY_SECONDS:.1f} days, "
                f"but the queue deletes a message after {QUEUE_RETENTION_DAYS}: keep their sum under "
                f"{QUEUE_RETENTION_DAYS - 1}"
            )
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if bool(self.domain_name) != bool(self.certificate_arn):
            raise ValueError("set domain_name and certificate_arn together, or neither")
        if self.base_path and not self.domain_name:
            raise ValueError("base_path needs domain_name")
        if self.domain_name and (self.public_url or self.local):
            raise ValueError("domain_name can't be combined with public_url, nor with the local stack")
        return self

    @property
    def production(self) -> bool:
        """Whether this is the production stage, whose data is protected and kept when the stack is deleted."""
        return self.stage == "production"

    @property
    def single_address(self) -> bool:
        """Whether SES verifies only the sender's address, so that mails have no DKIM signature of its domain."""
        return Channel.EMAIL in self.deployed and self.create_email_identity and self.email_domain is None

    @property
    def logs_kept_days(self) -> int:
        """The number of days for which logs are kept: with the setting `governed` at least 365."""
        return max(self.log_retention_days, 365) if self.governed else self.log_retention_days

    @property
    def domain_url(self) -> str | None:
        """The API's URL with its custom domain, without a slash at the end; None if the API has no custom domain."""
        if self.domain_name is None:
            return None
        return f"https://{self.domain_name}/{self.base_path or ''}".rstrip("/")

    @property
    def serve_reference(self) -> bool:
        """Whether the API serves its OpenAPI document and Swagger UI: by default in all stages but production."""
        return not self.production if self.api_reference is None else self.api_reference

    @property
    def deployed(self) -> tuple[Channel, ...]:
        """The channels to deploy: those that a route names, and those in `channels`."""
        wanted = {*named(self.routes.values()), *self.channels}
        return tuple(channel for channel in Channel if channel in wanted)

    @property
    def linked(self) -> tuple[Channel, ...]:
        """The deployed channels whose messages link to the web page for taking a request; none without `take`."""
        return tuple(channel for channel in self.deployed if self.take and channel in {Channel.EMAIL, Channel.TEAMS})

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """The deployed channels and the callback."""
        return (*self.deployed, CALLBACK)

    @property
    def routes_variable(self) -> str:
        """The value of the environment variable with the routes, as JSON, which assistance/routing.py reads."""
        told = {topic: asdict(route) for topic, route in self.routes.items()}
        for route in told.values():
            for member in ("where", "escalate_after"):
                if not route[member]:
                    del route[member]
        return json.dumps(told, separators=(",", ":"))

    def places(self, channel: Channel) -> tuple[Place, ...]:
        """Return the targets (Slack channels, mail addresses or secrets' names) that routes name for a channel.

        The stage's default target is not among them.
        """
        return tuple(dict.fromkeys(route.where[channel] for route in self.routes.values() if channel in route.where))

    @property
    def watched(self) -> bool:
        """Whether the stage has alarms, metrics and a dashboard: the setting `alarms`, by default off for dev only."""
        return self.stage != "dev" if self.alarms is None else self.alarms

    @property
    def can_snap_start(self) -> bool:
        """Whether Lambda supports SnapStart for the stage's Python version.

        https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html
        """
        return self.python_version != "3.11"

    @property
    def lacking(self) -> Mapping[str, str]:
        """The settings without a value that production can use: an error message by the setting's name."""
        lacking = {
            "account": not self.account,
            "region": not self.region,
            "operator_email": not self.operator_email,
            "slack_channel": Channel.SLACK in self.deployed and not SLACK_ID.fullmatch(self.slack_channel),
            "runbook_url": not self.runbook_url.startswith(("https://", "http://")),
        }
        real = "production needs real addresses: set {} to other than example.com"
        return {
            **{key: f"production needs {key}: {NEEDED[key]}" for key, lacks in lacking.items() if lacks},
            **{key: real.format(key) for key in self.example_addresses},
        }

    @property
    def removal_policy(self) -> "RemovalPolicy":
        """Return the removal policy of data: production retains it, unless the stack's first deployment failed."""
        # Imported here, because the import starts Node, which programs that only read settings don't need.
        from aws_cdk import RemovalPolicy  # noqa: PLC0415

        return RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if self.production else RemovalPolicy.DESTROY

    @property
    def example_addresses(self) -> list[str]:
        """The names of the settings with an address at example.com, whose mails nobody reads."""
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
        """Return the retry policy of that channel: its defaults, overridden by the settings `retry_…`."""
        limits = {item.name: getattr(self, f"retry_{item.name}") for item in fields(RetryPolicy)}
        return replace(RETRIES[channel], **{name: limit for name, limit in limits.items() if limit is not None})

    @property
    def longest_delays(self) -> int:
        """The largest sum of the delays between a delivery's attempts, in seconds, over all deployed channels."""
        return max(longest(self.retry(channel)) for channel in self.deployed)
