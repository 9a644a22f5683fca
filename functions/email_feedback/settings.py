"""The settings of the function that handles SES's events, from its environment variables."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use."""

    table_name: str
    email_dlq_url: str


settings = cache(Settings.read)
