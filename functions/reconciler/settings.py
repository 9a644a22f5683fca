"""The settings of the reconciler, from its environment variables."""

from functools import cache

from pydantic import BaseModel, Json, PositiveInt

from assistance.platform.environment import Environment
from assistance.routing import Channel


class ChannelQueues(BaseModel):
    """The URLs of a channel's queue and of its dead-letter queues."""

    queue: str
    dlqs: tuple[str, ...]


class Settings(Environment):
    """Environment variables, read once, at first use.

    `grace_seconds`: how old an outbox entry must be before the reconciler publishes it. `overdue_seconds`: an attempt
    that is late by more than this may count as lost. `queues`: a JSON object with the queues of each channel. `take`:
    True if humans take requests, so that the reconciler must escalate those that nobody has taken in time.
    """

    table_name: str
    topic_arn: str
    grace_seconds: PositiveInt
    overdue_seconds: PositiveInt
    queues: Json[dict[Channel, ChannelQueues]]
    take: bool = False


settings = cache(Settings.read)
