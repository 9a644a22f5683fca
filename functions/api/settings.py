"""The settings of the API."""

from pydantic import PositiveInt

from assistance.platform.environment import Environment


class Settings(Environment):
    """The API's environment variables."""

    table_name: str
    retention_days: PositiveInt
    callback_loopback: bool = False  # True if callback URLs at http://127.0.0.1 are allowed: only `make run` sets it
