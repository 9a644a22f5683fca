"""The settings of the email feedback, from its environment."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use."""

    table_name: str
    email_dlq_url: str


settings = cache(Settings.read)
