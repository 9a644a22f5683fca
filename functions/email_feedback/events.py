"""The events that SES publishes about mails, with the members that this function uses.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from assistance.ids import RequestId
from assistance.models import MAX_SECONDS
from assistance.platform.clock import epoch_ms
from email_feedback.errors import MalformedEvent

REQUEST_ID_TAG: Final = "request_id"

# SES publishes this text once, when it starts to use the SNS topic. It is not an event.
VALIDATION: Final = "Successfully validated SNS topic for Amazon SES event publishing."


def _in_utc(moment: datetime) -> datetime:
    """The same moment in UTC. Raises `ValueError` if UTC's calendar or a record can't hold it."""
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of the calendar") from None
    if not 0 <= epoch_ms(utc) <= MAX_SECONDS * 1_000:
        raise ValueError("out of a record's range")
    return utc


class _Model(BaseModel):
    # A validation error must not carry an address into a log.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, alias_generator=to_camel)


class Tags(_Model):
    """The tags of a mail. SES turns each tag's value into a list."""

    request_id: Annotated[tuple[RequestId], Field(alias=REQUEST_ID_TAG)]


class Mail(_Model):
    """The mail that an event is about. `message_id` is the id that SES's `SendEmail` returned."""

    message_id: Annotated[str, StringConstraints(min_length=1)]
    tags: Tags

    @property
    def request_id(self) -> str:
        """The id of the request for which the mail was sent."""
        return self.tags.request_id[0]


class BouncedRecipient(_Model):
    """A recipient of a mail that bounced. The members are from the report of a mail server, if there is one."""

    action: str | None = None
    status: str | None = None
    diagnostic_code: str | None = None


class BounceDetail(_Model):
    """Why a mail bounced."""

    bounce_type: Literal["Undetermined", "Permanent", "Transient"]
    bounce_sub_type: str = ""
    bounced_recipients: tuple[BouncedRecipient, ...] = ()


class Bounce(_Model):
    """A mail server has refused the mail, immediately or again and again until SES gave up."""

    event_type: Literal["Bounce"]
    mail: Mail
    bounce: BounceDetail

    @property
    def code(self) -> str:
        """The error code that the delivery gets."""
        return f"bounce_{self.bounce.bounce_type.lower()}"

    @property
    def may_be_automatic_reply(self) -> bool:
        """Whether this may be an out-of-office reply, which has no report of a mail server.

        https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types
        """
        detail = self.bounce
        reports = (one.action or one.status or one.diagnostic_code for one in detail.bounced_recipients)
        return (detail.bounce_type, detail.bounce_sub_type) == ("Transient", "General") and not any(reports)


class Complaint(_Model):
    """The recipient has marked the mail as spam, or is on SES's list of recipients who have done so before."""

    event_type: Literal["Complaint"]
    mail: Mail
    code: ClassVar = "complaint"


class Reject(_Model):
    """SES had accepted the mail, but found a virus in it, and did not send it."""

    event_type: Literal["Reject"]
    mail: Mail
    code: ClassVar = "reject"


class DeliveryDetail(_Model):
    """When the recipient's mail server took the mail."""

    timestamp: Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Delivery(_Model):
    """The recipient's mail server has taken the mail."""

    event_type: Literal["Delivery"]
    mail: Mail
    delivery: DeliveryDetail


class Other(_Model):
    """An event that changes nothing. The deployed event destination does not select these types."""

    event_type: Literal["Send", "DeliveryDelay", "Rendering Failure", "Open", "Click", "Subscription"]


Event = Bounce | Complaint | Reject | Delivery | Other
# `hide_input_in_errors` must be set for the union too: for errors of a union, pydantic ignores its models' settings.
_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(
    Annotated[Event, Field(discriminator="event_type")], config=ConfigDict(hide_input_in_errors=True)
)


def parse(text: str) -> Event:
    """The event in a text that SES has published. Raises `MalformedEvent`."""
    try:
        return _EVENT.validate_json(text)
    except ValidationError as error:
        wrong = ", ".join(".".join(str(part) for part in e["loc"]) + ": " + e["type"] for e in error.errors())
        raise MalformedEvent(wrong) from None
