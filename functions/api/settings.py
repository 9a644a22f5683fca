"""What the API is told by its environment."""

from functools import cache

from pydantic import PositiveInt

from assistance.environment import Environment


class Settings(Environment):
    """Read once, at first use. `retention_days`: how long a request is kept."""

    table_name: str
    retention_days: PositiveInt


@cache
def settings() -> Settings:
    """The settings, validated."""
    return Settings.read()
