"""The events of SES: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AliasPath, AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from assistance.ids import RequestId
from assistance.models import MAX_SECONDS, Model

# SES publishes this text once, when it starts to use the SNS topic. It is not an event.
VALIDATION: Final = "Successfully validated SNS topic for Amazon SES event publishing."
# The times that a record can hold.
_FIRST: Final = datetime.fromtimestamp(0, UTC)
_LAST: Final = datetime.fromtimestamp(MAX_SECONDS, UTC)


class MalformedEvent(Exception):
    """The event can't be parsed. A retry is pointless: an operator must inspect the event."""


class _Model(Model):
    model_config = ConfigDict(alias_generator=to_camel)


class _AboutMail(_Model):
    """An event about a mail. `message_id` is the id that SES's `SendEmail` returned for the mail."""

    message_id: Annotated[str, Field(min_length=1, validation_alias=AliasPath("mail", "messageId"))]
    # SES turns each tag's value into a list.
    request_ids: Annotated[tuple[RequestId], Field(validation_alias=AliasPath("mail", "tags", "request_id"))]

    @property
    def request_id(self) -> str:
        """The id of the request for which the mail was sent."""
        return self.request_ids[0]


class _BouncedRecipient(_Model):
    # These members are from the report of a mail server, if there is one.
    action: str | None = None
    status: str | None = None
    diagnostic_code: str | None = None


class Bounce(_AboutMail):
    """A mail server has refused the mail, immediately or again and again until SES gave up."""

    event_type: Literal["Bounce"]
    type: Annotated[
        Literal["Undetermined", "Permanent", "Transient"], Field(validation_alias=AliasPath("bounce", "bounceType"))
    ]
    sub_type: Annotated[str, Field(validation_alias=AliasPath("bounce", "bounceSubType"))] = ""
    recipients: Annotated[
        tuple[_BouncedRecipient, ...], Field(validation_alias=AliasPath("bounce", "bouncedRecipients"))
    ] = ()

    @property
    def code(self) -> str:
        """The error code that the bounced delivery gets, such as `bounce_permanent`."""
        return f"bounce_{self.type.lower()}"

    @property
    def may_be_automatic_reply(self) -> bool:
        """Whether this may be an out-of-office reply instead of a bounce: it has no report of a mail server.

        https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types
        """
        reports = (one.action or one.status or one.diagnostic_code for one in self.recipients)
        return (self.type, self.sub_type) == ("Transient", "General") and not any(reports)


class Refusal(_AboutMail):
    """The recipient has marked the mail as spam, now or earlier, or SES has found a virus in it and not sent it."""

    event_type: Literal["Complaint", "Reject"]
    feedback_type: Annotated[object, Field(validation_alias=AliasPath("complaint", "complaintFeedbackType"))] = None

    @property
    def is_not_spam(self) -> bool:
        """Whether this "complaint" says the opposite: a filter took the mail for spam, and the recipient corrects that.

        https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#complaint-types and
        https://www.rfc-editor.org/rfc/rfc6430.
        """
        return self.feedback_type == "not-spam"

    @property
    def code(self) -> str:
        """The error code that the delivery gets: `complaint` or `reject`."""
        return self.event_type.lower()


class Delivery(_AboutMail):
    """The recipient's mail server has taken the mail."""

    event_type: Literal["Delivery"]
    at: Annotated[AwareDatetime, Field(ge=_FIRST, le=_LAST, validation_alias=AliasPath("delivery", "timestamp"))]


class Other(_Model):
    """An event of a type that changes nothing. The stack does not let SES publish these types."""

    event_type: Literal["Send", "DeliveryDelay", "Rendering Failure", "Open", "Click", "Subscription"]


Event = Bounce | Refusal | Delivery | Other
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
