"""The settings of the reconciler, from its environment."""

from functools import cache

from pydantic import BaseModel, Json, PositiveInt

from assistance.platform.environment import Environment
from assistance.routing import Channel


class ChannelQueues(BaseModel):
    """A channel's queues, by URL."""

    queue: str
    dlqs: tuple[str, ...]


class Settings(Environment):
    """Read once, at first use.

    `grace_seconds`: how long the stream has before the reconciler steps in. `overdue_seconds`: how long after it was
    due an attempt counts as lost. `queues` is a JSON object by channel. `take`: humans take requests, so
    that some may be left untaken.
    """

    table_name: str
    topic_arn: str
    grace_seconds: PositiveInt
    overdue_seconds: PositiveInt
    queues: Json[dict[Channel, ChannelQueues]]
    take: bool = False


settings = cache(Settings.read)
