"""The words of the domain as types: a request, its deliveries, and the status that follows from them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, model_validator

from assistance.callback_url import CallbackUrl
from assistance.ids import RequestId
from assistance.routing import TOPIC_PATTERN, Channel, Lane, routes, topics

MAX_DESCRIPTION_CHARACTERS = 4_000


class Status(StrEnum):
    """Of a request and of a delivery, in the order in which they are reached."""

    ACCEPTED = "accepted"
    PUBLISHED = "published"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"


def _strip(value: object) -> object:
    # Python's strip, which unlike pydantic's takes the control characters that separate as white space.
    return value.strip() if isinstance(value, str) else value


def _topic(value: object) -> object:
    topic = value.strip().lower() if isinstance(value, str) else None
    if topic not in routes():
        raise ValueError(f"Input should be {topics()}")
    return topic


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


class _Model(BaseModel):
    # A validation error must not carry a customer's text into a log. No function uses all models: each is built at its
    # first use.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)


class Call(_Model):
    """What a bot asks for: the body of `POST /assistance-requests`."""

    topic: Annotated[str, BeforeValidator(_topic)]
    description: Annotated[
        str, StringConstraints(min_length=1, max_length=MAX_DESCRIPTION_CHARACTERS), BeforeValidator(_strip)
    ]
    callback_url: CallbackUrl | None = None


class AssistanceRequest(_Model):
    """An accepted call. Its topic may have been removed from the routes since."""

    id: RequestId
    topic: TopicName
    description: str
    created_at: Moment
    callback_url: str | None = None

    def summary(self, status: Status) -> dict[str, Any]:
        """What the caller is told of it, without what the customer said."""
        return {
            "id": self.id,
            "topic": self.topic,
            "status": status,
            "created_at": self.created_at,
            "links": {"self": f"/assistance-requests/{self.id}"},
        }


class Fallback(_Model):
    """That a request goes to `channel` instead of the one that failed, and the code of the failure."""

    channel: Channel
    failed_channel: Channel
    error: str


_ENDED = f"^({'|'.join(Channel)})#({Status.DELIVERED}|{Status.FAILED})$"


class Message(_Model):
    """What travels from the outbox through SNS and SQS to a consumer.

    `version` rises when an older consumer could not read the message; unknown members are ignored, so new optional
    ones need no new version. `force` names an operator's decision to send what is already delivered once more.
    `ended_at` makes it a callback: a delivery ended then, so the request may have. It carries no description. `ended`
    says which delivery, and how: two may end in one millisecond.
    """

    version: Literal[1] = 1
    request: AssistanceRequest
    fallback: Fallback | None = None
    force: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    ended_at: Moment | None = None
    ended: Annotated[str, StringConstraints(pattern=_ENDED)] | None = None

    @model_validator(mode="after")
    def _ended_at_some_time(self) -> Self:
        if self.ended and not self.ended_at:
            raise ValueError("an end has its time")
        return self

    @property
    def end(self) -> str | None:
        """The name of the end that a callback tells of."""
        return f"{self.ended_at}#{self.ended}" if self.ended else self.ended_at


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A request that is to be published, and the channels to publish it to. `trace`: the header of the bot's call.

    `since`: when it re-entered the outbox, if it has. `ended` says which delivery's end is to be published to the
    callback, `ended_as` how it ended; it ended at `since`.
    """

    request: AssistanceRequest
    channels: tuple[Lane, ...]
    fallback: Fallback | None = None
    trace: str | None = field(default=None, compare=False)
    ended: Channel | None = None
    ended_as: Status | None = None
    since: str | None = None

    @property
    def entered_at(self) -> str:
        """Since when it is in the outbox."""
        return self.since or self.request.created_at


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a channel is to send.

    `in_doubt` says that an earlier attempt may have reached the provider: where the provider can be asked, ask.
    `fallback` says why the request comes on this channel, if it is not its own. `force` names the operator's decision
    to send once more what was delivered: an earlier message without it is another message. `refused_together`: the
    provider has refused a message that held this request among others, so that it must go alone.
    """

    request: AssistanceRequest
    in_doubt: bool = False
    fallback: Fallback | None = None
    force: str | None = None
    refused_together: bool = False

    @property
    def alone(self) -> bool:
        """Whether it goes in a message of its own: that it has to, or that its reader must be told how it has come."""
        return self.refused_together or bool(self.fallback or self.force)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a delivery.

    `outcome` is `sending`, `delivered`, `retrying`, `failed`, or `unknown` for one that ended without a word.
    `in_doubt` says that the provider may have taken the message although the attempt did not succeed.
    """

    at: str
    outcome: str
    error: str | None = None
    in_doubt: bool = False
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request on one channel, as the table knows it. Times are RFC 3339."""

    channel: Channel
    status: Status
    attempts: int
    last_error: str | None = None
    first_attempt_at: str | None = None
    last_attempt_at: str | None = None
    next_attempt_at: str | None = None
    delivered_at: str | None = None
    confirmed_at: str | None = None
    failed_at: str | None = None
    claimed_until: str | None = None
    """While an attempt is under way, or has died: when its claim ends."""
    timeline: tuple[Attempt, ...] = ()
    has_failed: bool = False
    """Whether it has ever failed for good, even if a redrive has delivered it since."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen unless somebody redrives it."""
        return self.status in {Status.DELIVERED, Status.FAILED}


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request with all that has become of it.

    `channels` are those of its route when it was accepted: a route that changes later changes no request. `caller` is
    the id of the API key that sent it; a request that an earlier version stored has none.
    """

    request: AssistanceRequest
    channels: tuple[Channel, ...]
    published_at: str | None
    deliveries: tuple[Delivery, ...]
    in_outbox: bool = False
    fallback: Fallback | None = None
    caller: str | None = None

    def is_for(self, caller: str) -> bool:
        """Whether the API may show it to the API key with that id."""
        return self.caller in {None, caller}

    @property
    def status(self) -> Status:
        """How far the request has come. Derived, never stored, so it can't disagree with the deliveries.

        Delivered when every channel has it, or its fallback has; failed when a channel has failed and the fallback has
        not (yet) delivered instead. What it was sent by besides says nothing.
        """
        own = [delivery for delivery in self.deliveries if delivery.channel in self._wanted]
        statuses = {delivery.channel: delivery.status for delivery in own}
        if all(statuses.get(channel) is Status.DELIVERED for channel in self.channels):
            return Status.DELIVERED
        if self.fallback and statuses.get(self.fallback.channel) is Status.DELIVERED:
            return Status.DELIVERED
        if Status.FAILED in statuses.values() or any(delivery.has_failed for delivery in own):
            # Also while what is redriven on one channel still waits on another: no status moves back.
            return Status.FAILED
        if Status.RETRYING in statuses.values():
            return Status.RETRYING
        if statuses:
            return Status.SENDING
        return Status.PUBLISHED if self.published_at else Status.ACCEPTED

    @property
    def pending(self) -> tuple[Channel, ...]:
        """The channels on which the request is still on its way: none once it has ended."""
        if self.status is Status.DELIVERED:
            return ()
        ended = {delivery.channel for delivery in self.deliveries if delivery.ended}
        return tuple(channel for channel in self._wanted if channel not in ended)

    @property
    def _wanted(self) -> tuple[Channel, ...]:
        return (*self.channels, self.fallback.channel) if self.fallback else self.channels

    @property
    def ended_at(self) -> str | None:
        """When the request has come to its latest end, or None while it is on its way."""
        own = (delivery for delivery in self.deliveries if delivery.ended and delivery.channel in self._wanted)
        ends = [delivery.failed_at or delivery.delivered_at or "" for delivery in own]
        return None if self.pending else max(ends)

    def delivery(self, channel: Channel) -> Delivery | None:
        """The delivery on that channel, once it has been attempted."""
        return next((delivery for delivery in self.deliveries if delivery.channel is channel), None)
