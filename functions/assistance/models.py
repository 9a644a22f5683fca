"""An accepted request, and the messages that carry it to a channel: checked as they are read."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from assistance.domain.record import Attempt, End, Handled, Untaken
from assistance.ids import RequestId
from assistance.routing import MAX_MINUTES, TOPIC_PATTERN, Channel

MAX_DESCRIPTION_CHARACTERS = 4_000
PERSONAL = frozenset({"description", "customer", "conversation_url", "details"})
"""The members of a request that may hold personal data: for the channels, and for nobody who has not asked."""
# Year 9999: later is no time.
MAX_SECONDS = 253_402_300_799


class Status(StrEnum):
    """Of a request and of a delivery, in the order in which they are reached."""

    ACCEPTED = "accepted"
    PUBLISHED = "published"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"


def _moment(value: str) -> str:
    datetime.fromisoformat(value)
    return value


TopicName = Annotated[str, StringConstraints(pattern=TOPIC_PATTERN)]
Moment = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"),
    AfterValidator(_moment),
]
"""A time exactly as `clock.timestamp` writes it: sorting such texts sorts by time."""


Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS)]
Channels = Annotated[tuple[Channel, ...], Field(min_length=1)]


class Model(BaseModel):
    """A document, as far as it is read: other members are no concern of this version's."""

    # A validation error must not carry a customer's text into a log. No function uses all models: each is built at its
    # first use.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)


class Customer(Model):
    """Who asks: each member as it came, trimmed. Nobody has checked whether it is an address or a number."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None


class Detail(Model):
    """Something else that the bot says: a label, and a text, number or boolean as JSON writes it."""

    label: str
    value: str


class AssistanceRequest(Model):
    """An accepted call. Its topic may have been removed from the routes since.

    `conversation_url`: where a human can join. `reference`: the bot's own id of it. Any text may stand in either.
    """

    id: RequestId
    topic: TopicName
    description: str
    created_at: Moment
    callback_url: str | None = None
    customer: Customer | None = None
    conversation_url: str | None = None
    reference: str | None = None
    # An absent member is left out: an earlier version's message and item had none.
    details: Annotated[tuple[Detail, ...], Field(exclude_if=lambda details: not details)] = ()

    @property
    def said(self) -> dict[str, Any]:
        """The optional members that tell a human more, as far as they are present, as JSON holds them."""
        names = {"customer", "conversation_url", "reference", "details"}
        return self.model_dump(mode="json", include=names, exclude_none=True)

    def for_its_bot(self) -> Self:
        """The request with no more in it than a callback tells and needs."""
        return self.model_copy(update={"description": "", "customer": None, "conversation_url": None, "details": ()})

    def summary(self, status: Status) -> dict[str, Any]:
        """The answer to the caller, without the customer's texts."""
        return {
            "id": self.id,
            "topic": self.topic,
            "status": status,
            "created_at": self.created_at,
            "links": {"self": f"/assistance-requests/{self.id}"},
        }

    def told(self, status: Status) -> dict[str, Any]:
        """The same with the bot's own id, for a bot that recognises the request by nothing else."""
        return self.summary(status) | ({} if self.reference is None else {"reference": self.reference})


class Fallback(Model):
    """That a request goes to `channel` instead of the one that failed, and the code of the failure."""

    channel: Channel
    failed_channel: Channel
    error: str


Minutes = Annotated[int, Field(ge=1, le=MAX_MINUTES)]
_ENDED = f"^({'|'.join(Channel)})#({Status.DELIVERED}|{Status.FAILED})$"
_Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class RouteThen(Model):
    """A request's route when it was accepted."""

    channels: Channels
    fallback: Channel | None = None
    escalate_after: Minutes | None = None


class Message(Model):
    """The message that travels from the outbox through SNS and SQS to a consumer.

    `version` rises when an older consumer could not read the message, or would deliver it twice; unknown members are
    ignored, so new optional ones need no new version. `delivery` names the delivery in the request's record; without
    it, it is that of the request's own channel. `ttl`: when the request is forgotten, in seconds since 1970.

    Version 1 had neither route nor delivery, but `fallback`, `force` (an operator's decision to send what is already
    delivered once more), and for a callback `ended_at` and `ended`: when which delivery ended, and how.
    """

    version: Literal[1, 2] = 2
    request: AssistanceRequest
    route: RouteThen | None = None
    ttl: Seconds | None = None
    delivery: _Name | None = None
    fallback: Fallback | None = None
    force: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    ended_at: Moment | None = None
    ended: Annotated[str, StringConstraints(pattern=_ENDED)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.ended and not self.ended_at:
            raise ValueError("an end has its time")
        if self.version > 1 and (self.route is None or self.ttl is None):
            raise ValueError("it has a route and a ttl")
        return self


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request for a channel to send.

    `doubts` are the earlier attempts that may have reached the provider: where the provider can be asked, ask.
    `fallback` says why the request comes on this channel, if it is not its own. `resend` names the operator's decision
    to send it once more: an earlier message without it is another message. `untaken` says after how
    many minutes it comes here because nobody has taken it. `event` is what a callback tells.
    `refused_together`: the provider has refused a message that held this request among others, so that it must go
    alone. `delivery` is the name of the delivery in the request's record. `ttl`: when the request is forgotten, in
    seconds since 1970.
    """

    request: AssistanceRequest
    doubts: tuple[Attempt, ...] = ()
    fallback: Fallback | None = None
    resend: str | None = None
    untaken: Untaken | None = None
    event: End | Handled | None = None
    refused_together: bool = False
    delivery: str | None = None
    ttl: int | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier attempt may have reached the provider."""
        return bool(self.doubts)

    @property
    def alone(self) -> bool:
        """Whether it goes in a message of its own: that it has to, or that an operator has asked for it."""
        return self.refused_together or bool(self.resend)
