"""The words of the domain as types: a request, its deliveries, and the status that follows from them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints

from assistance.routing import ROUTES, Channel, Topic

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


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class _Model(BaseModel):
    # A validation error must not carry a customer's text into a log.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Call(_Model):
    """What a bot asks for: the body of `POST /assistance-requests`."""

    topic: Annotated[Topic, BeforeValidator(_lower)]
    description: Annotated[
        str, BeforeValidator(_strip), StringConstraints(min_length=1, max_length=MAX_DESCRIPTION_CHARACTERS)
    ]


class AssistanceRequest(_Model):
    """An accepted call. `created_at` is RFC 3339 in UTC with milliseconds."""

    id: str
    topic: Topic
    description: str
    created_at: str


class Message(_Model):
    """What travels from the outbox through SNS and SQS to a consumer.

    `version` rises when an older consumer could not read the message; unknown members are ignored, so new optional
    ones need no new version.
    """

    version: Literal[1] = 1
    request: AssistanceRequest


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A request that is to be published, and the channels to publish it to."""

    request: AssistanceRequest
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request on one channel, as the table knows it. Times are RFC 3339."""

    channel: Channel
    status: Status
    attempts: int
    last_error: str | None = None
    first_attempt_at: str | None = None
    last_attempt_at: str | None = None
    delivered_at: str | None = None
    failed_at: str | None = None


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request with all that has become of it."""

    request: AssistanceRequest
    published_at: str | None
    deliveries: tuple[Delivery, ...]

    @property
    def status(self) -> Status:
        """How far the request has come. Derived, never stored, so it can't disagree with the deliveries."""
        return overall(self.request.topic, self.published_at, self.deliveries)


def overall(topic: Topic, published_at: str | None, deliveries: Iterable[Delivery]) -> Status:
    """The status of a request whose deliveries stand like this.

    Delivered when every channel of its route has it, or its fallback has; failed when a channel has failed and the
    fallback has not (yet) delivered instead.
    """
    route = ROUTES[topic]
    by_channel = {delivery.channel: delivery.status for delivery in deliveries}
    if all(by_channel.get(channel) is Status.DELIVERED for channel in route.channels):
        return Status.DELIVERED
    if route.fallback is not None and by_channel.get(route.fallback) is Status.DELIVERED:
        return Status.DELIVERED
    reached = set(by_channel.values())
    for status in (Status.FAILED, Status.RETRYING):
        if status in reached:
            return status
    if reached:
        return Status.SENDING
    return Status.PUBLISHED if published_at else Status.ACCEPTED
