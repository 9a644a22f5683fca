"""The settings of the callback consumer, from its environment variables."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use.

    `callback_secret`: the ARN of the secret with the signing keys. `callback_loopback`: True if bots at http://127.0.0.1
    may be called, which only `make run` sets.
    """

    table_name: str
    callback_secret: str
    callback_loopback: bool = False


settings = cache(Settings.read)
