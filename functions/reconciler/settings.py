"""The settings of the reconciler."""

from pydantic import BaseModel, Json, PositiveInt

from assistance.platform.environment import Environment


class ChannelQueues(BaseModel):
    """The URLs of a channel's queue and of its dead-letter queues."""

    queue: str
    dlqs: tuple[str, ...]


class Settings(Environment):
    """The reconciler's environment variables."""

    table_name: str
    topic_arn: str
    grace_seconds: PositiveInt  # how old an outbox entry must be before the reconciler publishes it
    overdue_seconds: PositiveInt  # an attempt that is late by more than this may count as lost
    queues: Json[dict[str, ChannelQueues]]  # by channel; also of the callbacks
    take: bool = False  # True if humans take requests, so that requests that nobody has taken in time are escalated
