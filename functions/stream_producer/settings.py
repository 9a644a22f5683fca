"""The settings of the stream producer, from its environment variables."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use."""

    table_name: str
    topic_arn: str


settings = cache(Settings.read)
