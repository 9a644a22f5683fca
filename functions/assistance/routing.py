"""Which channels a topic goes to: the one table from which everything else is derived.

The API's accepted topics, the SNS filter policies, the queues, the consumers, their grants and their alarms all follow
from `Channel` and the routes: those that the deployer gives as context, or else `ROUTES`. A new channel is a member
here, and a folder and an infra file called `<channel>_consumer`: docs/add-a-channel.md.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final, TypeAlias

TOPIC_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,31}$"
"""The form of a topic's name. No channel needs to escape it."""

MAX_MINUTES: Final = 10_080
"""A week: no route waits longer for a human."""


class Topic(StrEnum):
    """What a customer may ask about, unless the deployer's routes say otherwise. Elsewhere a topic is a string."""

    SALES = "sales"
    PRICING = "pricing"


class Channel(StrEnum):
    """A way to reach a human."""

    SLACK = "slack"
    EMAIL = "email"
    TEAMS = "teams"


class Callback(StrEnum):
    """The way back to the bot. No route names it, and what becomes of it says nothing about the request."""

    CALLBACK = "callback"


CALLBACK: Final = Callback.CALLBACK
Destination: TypeAlias = Channel | Callback
"""A destination has its own subscription, queues and consumer."""
DESTINATIONS: Final[tuple[Destination, ...]] = (*Channel, CALLBACK)
Place: TypeAlias = str | tuple[str, ...]
"""A place on a channel: a Slack channel's id, the recipients of a mail, or the name of a Teams secret."""


@dataclass(frozen=True, slots=True)
class Route:
    """The channels a topic is delivered on, and the one to use when delivery on those has failed for good.

    `where` says where on each of them. A channel that is not in it posts at the stage's default. `escalate_after`: the
    fallback is also used if nobody has taken the request so many minutes after it was accepted.
    """

    channels: tuple[Channel, ...]
    fallback: Channel | None = None
    where: Mapping[Channel, Place] = field(default_factory=dict)
    escalate_after: int | None = None


ROUTES: Mapping[str, Route] = {
    Topic.SALES: Route(channels=(Channel.SLACK,), fallback=Channel.EMAIL),
    Topic.PRICING: Route(channels=(Channel.EMAIL,), fallback=Channel.SLACK),
}
"""The routes of a deployment that is given none."""


@cache
def routes() -> Mapping[str, Route]:
    """Today's routes, by topic: for what is accepted now. What was accepted earlier may be of a topic without one."""
    given = os.environ.get("ROUTES")
    return ROUTES if given is None else read(given)


def read(given: str) -> Mapping[str, Route]:
    """The routes, as functions are told them."""
    return {topic: _route(**route) for topic, route in json.loads(given).items()}


def _route(
    channels: list[str],
    fallback: str | None,
    where: Mapping[str, str | list[str]] | None = None,
    escalate_after: int | None = None,
) -> Route:
    places = {
        Channel(channel): place if isinstance(place, str) else tuple(place) for channel, place in (where or {}).items()
    }
    return Route(tuple(map(Channel, channels)), Channel(fallback) if fallback else None, places, escalate_after)


def place(topic: str, channel: Channel) -> Place | None:
    """The place on the channel where requests of that topic go today. None for the stage's default."""
    route = routes().get(topic)
    return route.where.get(channel) if route else None


def topics() -> str:
    """Today's topics, in words."""
    *others, last = (f"'{topic}'" for topic in routes())
    return f"{', '.join(others)} or {last}" if others else last


def named(by: Iterable[Route]) -> tuple[Channel, ...]:
    """The channels that these routes name."""
    names = {channel for route in by for channel in (*route.channels, route.fallback)}
    return tuple(channel for channel in Channel if channel in names)


MAX_RECEIVES: Final = 1_000
"""How often SQS hands a message out before its own redrive: as often as it can.

The consumer counts attempts itself and dead-letters with the reason. SQS's count also rises when a channel limits its
rate, up to 900 times an hour, when a duplicate meets an attempt under way, and when Lambda is throttled; none of these
may cost a request its delivery, however few attempts it has.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
"""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a delivery is attempted. Delays are in seconds.

    The delay before attempt n + 1 is drawn from 0 to `first_delay` times 3 to the n - 1, at most `max_delay`: with the
    defaults a channel that stays down is given up after five delays of together at most ten minutes. After an attempt
    in doubt it is at least `doubt_delay`, so that a provider which was merely slow has taken the message by the time
    it is asked for it. What a provider's Retry-After asks for is added.
    """

    attempts: int = 6
    first_delay: int = 5
    max_delay: int = 900
    doubt_delay: int = 30

    @property
    def longest(self) -> int:
        """The longest that all delays together can be."""
        return self.first(self.attempts)

    def first(self, delays: int) -> int:
        """The longest that the first so many delays together can be."""
        last = min(delays, self.attempts - 1)
        return sum(max(self.ceiling(attempt), self.doubt_delay) for attempt in range(1, last + 1))

    def ceiling(self, attempt: int) -> int:
        """The longest delay after that failed attempt, counted from 1."""
        growth: int = 3 ** min(attempt - 1, 10)
        return min(self.max_delay, self.first_delay * growth)


RETRIES: Mapping[Destination, RetryPolicy] = {
    **{channel: RetryPolicy() for channel in Channel},
    # A bot may be down for half a day: nobody waits for it, and no fallback does.
    CALLBACK: RetryPolicy(attempts=12, max_delay=21_600),
}
"""The limits of each destination. What the deployer chooses as context overrides them for all."""
