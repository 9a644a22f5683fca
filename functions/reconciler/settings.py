"""What the reconciler is told by its environment."""

from functools import cache

from pydantic import BaseModel, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from assistance.routing import Channel


class ChannelQueues(BaseModel):
    """A channel's queues, by URL."""

    queue: str
    dlqs: tuple[str, ...]


class Settings(BaseSettings):
    """Read once, at first use.

    `grace_seconds`: how long the stream has before the reconciler steps in. `overdue_seconds`: how long after it was
    due an attempt counts as lost. `queues` is a JSON object by channel.
    """

    model_config = SettingsConfigDict(frozen=True)

    table_name: str
    topic_arn: str
    grace_seconds: PositiveInt
    overdue_seconds: PositiveInt
    retention_days: PositiveInt
    queues: dict[Channel, ChannelQueues]


@cache
def settings() -> Settings:
    """The settings, validated."""
    return Settings()
