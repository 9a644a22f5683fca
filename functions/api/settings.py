"""The settings of the API, from its environment."""

from functools import cache

from pydantic import PositiveInt

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use.

    `retention_days`: how long a request is kept. `callback_loopback`: bots at http://127.0.0.1 may be called back,
    which only `make run` says.
    """

    table_name: str
    retention_days: PositiveInt
    callback_loopback: bool = False


settings = cache(Settings.read)
