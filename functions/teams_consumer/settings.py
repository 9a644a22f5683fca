"""What the Teams consumer is told by its environment."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use. `teams_secret` is the secret's ARN; `teams_loopback`: `make run` sets it."""

    teams_secret: str
    teams_loopback: bool = False


@cache
def settings() -> Settings:
    """The settings, validated."""
    return Settings.read()
