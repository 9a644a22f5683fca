"""An accepted request, and the messages that carry it to a destination. pydantic checks them when they are read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from assistance.domain.record import Attempt, Delivery, Kind, Status, Take
from assistance.ids import RequestId
from assistance.routing import MAX_MINUTES, TOPIC_PATTERN, Channel

MAX_DESCRIPTION_CHARACTERS = 4_000
# The end of the year 9999. Python has no later times.
MAX_SECONDS = 253_402_300_799


def _moment(value: str) -> str:
    datetime.fromisoformat(value)
    return value


TopicName = Annotated[str, StringConstraints(pattern=TOPIC_PATTERN)]
Moment = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"),
    AfterValidator(_moment),
]
"""An RFC 3339 time in UTC with milliseconds, as `clock.timestamp` writes it. So the texts sort by their times."""
Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS)]
Channels = Annotated[tuple[Channel, ...], Field(min_length=1)]


class Model(BaseModel):
    """A document that is read. Members without a field are ignored: a later version may have added them."""

    # A validation error must not carry a customer's text into a log. No function uses all models: `defer_build`.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)


class Customer(Model):
    """The customer. Each member is as the bot sent it, trimmed: it may not be a valid address or telephone number."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None


class Detail(Model):
    """Further information from the bot: a label, and a text, or a number or boolean as JSON writes it."""

    label: str
    value: str


class AssistanceRequest(Model):
    """An accepted request. Its topic may have been removed from the routes since.

    `conversation_url`: where a human can join the conversation. `reference`: the bot's own id. Both may hold any text.
    """

    id: RequestId
    topic: TopicName
    description: str
    created_at: Moment
    callback_url: str | None = None
    customer: Customer | None = None
    conversation_url: str | None = None
    reference: str | None = None
    # Without details, the member is left out, as in the messages and items of earlier versions.
    details: Annotated[tuple[Detail, ...], Field(exclude_if=lambda details: not details)] = ()

    @property
    def optional_members(self) -> dict[str, Any]:
        """The optional members that are shown to humans, as JSON values. Absent members are left out."""
        names = {"customer", "conversation_url", "reference", "details"}
        return self.model_dump(mode="json", include=names, exclude_none=True)

    def for_its_bot(self) -> Self:
        """The request without the customer's texts, which a callback does not need."""
        return self.model_copy(update={"description": "", "customer": None, "conversation_url": None, "details": ()})

    def summary(self, status: Status) -> dict[str, Any]:
        """The members by which the API and callbacks describe the request, without the customer's texts."""
        return {
            "id": self.id,
            "topic": self.topic,
            "status": status,
            "created_at": self.created_at,
            "links": {"self": f"/assistance-requests/{self.id}"},
        }

    def summary_with_reference(self, status: Status) -> dict[str, Any]:
        """The members of `summary`, and the bot's `reference`, if any: some bots know the request only by that."""
        return self.summary(status) | ({} if self.reference is None else {"reference": self.reference})


class Fallback(Model):
    """A request goes to `channel` because delivery on `failed_channel` failed with the code `error`."""

    channel: Channel
    failed_channel: Channel
    error: str


Minutes = Annotated[int, Field(ge=1, le=MAX_MINUTES)]
_ENDED = f"^({'|'.join(Channel)})#({Status.DELIVERED}|{Status.FAILED})$"
_Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class StoredRoute(Model):
    """A request's route, as it was when the API accepted the request."""

    channels: Channels
    fallback: Channel | None = None
    escalate_after: Minutes | None = None


class Message(Model):
    """The message that travels from the outbox through SNS and SQS to a consumer.

    `version` must rise if an older consumer could not read the message, or would deliver it twice. Version 1 had
    `fallback`, `force` (the id of an operator's resend), and for a callback `ended_at` (when a delivery got its final
    status) and `ended` (its channel and that status), but neither `route` nor `delivery`.
    """

    version: Literal[1, 2] = 2
    request: AssistanceRequest
    route: StoredRoute | None = None
    ttl: Seconds | None = None  # when the request expires, in seconds since 1970
    delivery: _Name | None = None  # the delivery's name in the record; None for the request's own channel
    fallback: Fallback | None = None
    force: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    ended_at: Moment | None = None
    ended: Annotated[str, StringConstraints(pattern=_ENDED)] | None = None

    def json_text(self) -> str:
        """The message as JSON in ASCII, since SQS refuses some of the characters that a customer may type."""
        return self.model_dump_json(ensure_ascii=True, exclude_none=True)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.ended and not self.ended_at:
            raise ValueError("an end has its time")
        if self.version > 1 and (self.route is None or self.ttl is None):
            raise ValueError("it has a route and a ttl")
        return self


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to send to a destination, the delivery that says why, and the earlier attempts in doubt."""

    request: AssistanceRequest
    delivery: Delivery
    ttl: int  # when the request expires, in seconds since 1970
    doubts: tuple[Attempt, ...] = ()  # the earlier attempts whose messages may have arrived: first search for them
    taken: Take | None = None  # the take that is in force

    @property
    def alone(self) -> bool:
        """Whether the request goes in a message of its own: it is a resend, or was refused together with others."""
        return self.delivery.alone or self.delivery.kind is Kind.RESEND
