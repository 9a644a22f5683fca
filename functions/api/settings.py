"""The settings of the API, from its environment variables."""

from functools import cache

from pydantic import PositiveInt

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use.

    `retention_days`: how long a request is kept. `callback_loopback`: True if callback URLs at http://127.0.0.1 are
    allowed, which only `make run` sets.
    """

    table_name: str
    retention_days: PositiveInt
    callback_loopback: bool = False


settings = cache(Settings.read)
