"""The settings of the callback consumer, from its environment."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use. `callback_secret` is the secret's ARN; `callback_loopback`: `make run` sets it."""

    table_name: str
    callback_secret: str
    callback_loopback: bool = False


settings = cache(Settings.read)
