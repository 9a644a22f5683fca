"""Which channels a topic goes to: the one table from which topics, filters, queues, consumers and alarms follow."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final, Literal, TypeAlias

from pydantic import ConfigDict, TypeAdapter

TOPIC_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,31}$"
"""The form of a topic's name. It allows no character that a channel would have to escape."""
MAX_MINUTES: Final = 10_080  # the highest value of a route's `escalate_after`: a week


class Topic(StrEnum):
    """The topics of the default routes. The deployer may choose others, so elsewhere a topic is a string."""

    SALES = "sales"
    PRICING = "pricing"


class Channel(StrEnum):
    """A way to reach a human."""

    SLACK = "slack"
    EMAIL = "email"
    TEAMS = "teams"


CALLBACK: Final = "callback"
"""The destination of a callback: the bot. No route names it, and the request's status does not depend on it."""
Destination: TypeAlias = Channel | Literal["callback"]  # a destination has its own subscription, queues and consumer
DESTINATIONS: Final[tuple[Destination, ...]] = (*Channel, CALLBACK)
Place: TypeAlias = str | tuple[str, ...]
"""A place on a channel: a Slack channel's id, the recipients of a mail, or the name of a Teams secret."""


@dataclass(frozen=True, slots=True)
class Route:
    """The channels to which a topic's requests go, and the channel that is used if delivery on one fails for good.

    `where`: the place on each channel, such as a Slack channel's id; a channel that it does not name posts at the
    stage's default place. `escalate_after`: the fallback is also used if nobody has taken the request this many minutes
    after it was accepted.
    """

    channels: tuple[Channel, ...]
    fallback: Channel | None = None
    where: Mapping[Channel, Place] = field(default_factory=dict)
    escalate_after: int | None = None


ROUTES: Mapping[str, Route] = {
    Topic.SALES: Route(channels=(Channel.SLACK,), fallback=Channel.EMAIL),
    Topic.PRICING: Route(channels=(Channel.EMAIL,), fallback=Channel.SLACK),
}
"""The routes of a deployment for which the deployer has given none."""


@cache
def routes() -> Mapping[str, Route]:
    """The current routes by topic, for requests that are accepted now. An earlier request's topic may be missing."""
    given = os.environ.get("ROUTES")
    return ROUTES if given is None else read(given)


def read(given: str) -> Mapping[str, Route]:
    """The routes in the JSON text that the functions have in their environment variable `ROUTES`.

    Raises a `ValueError` that does not quote the text: the routes hold mail addresses.
    """
    return TypeAdapter(Mapping[str, Route], config=ConfigDict(hide_input_in_errors=True)).validate_json(given)


def place(topic: str, channel: Channel) -> Place | None:
    """The place on the channel to which requests of that topic go now. None stands for the stage's default place."""
    route = routes().get(topic)
    return route.where.get(channel) if route else None


def topics() -> str:
    """The current topics in one text, such as `'pricing', 'sales' or 'support'`."""
    *others, last = (f"'{topic}'" for topic in routes())
    return f"{', '.join(others)} or {last}" if others else last


def named(by: Iterable[Route]) -> tuple[Channel, ...]:
    """The channels that these routes name, as channels or as fallbacks."""
    names = {channel for route in by for channel in (*route.channels, route.fallback)}
    return tuple(channel for channel in Channel if channel in names)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How many attempts at a delivery are made, and how long the delays between them are, in seconds.

    The delay before attempt n + 1 is random, between 0 and `first_delay` · 3ⁿ⁻¹, and `max_delay` at most. After an
    attempt in doubt it is at least `doubt_delay`. A provider's Retry-After is added to the delay.
    """

    attempts: int = 6
    first_delay: int = 5
    max_delay: int = 900
    doubt_delay: int = 30

    def ceiling(self, attempt: int) -> int:
        """The longest random delay, in seconds, after the failed attempt with this number, counted from 1."""
        growth: int = 3 ** min(attempt - 1, 10)
        return min(self.max_delay, self.first_delay * growth)
