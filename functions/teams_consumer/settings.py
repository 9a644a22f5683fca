"""What the Teams consumer is told by its environment."""

from collections.abc import Mapping
from functools import cache

from pydantic import Field, Json

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use. `teams_loopback`: `make run` sets it.

    `teams_secret` is the secret's ARN; `teams_secrets` has, by name, the ARNs of those that routes ask for.
    """

    teams_secret: str
    teams_secrets: Json[Mapping[str, str]] = Field(default_factory=dict)
    teams_loopback: bool = False


@cache
def settings() -> Settings:
    """The settings, validated."""
    return Settings.read()
