"""The settings of the Teams consumer, from its environment."""

from collections.abc import Mapping
from functools import cache

from pydantic import Field, Json

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use. `teams_loopback`: `make run` sets it.

    `teams_secret` is the secret's ARN; `teams_secrets` has, by name, the ARNs of those that routes ask for.
    Links by which humans take requests begin with `take_page`, unless there are none. `take_secret` is the ARN of the
    secret that signs these.
    """

    teams_secret: str
    teams_secrets: Json[Mapping[str, str]] = Field(default_factory=dict)
    teams_loopback: bool = False
    take_page: str = ""
    take_secret: str = ""


settings = cache(Settings.read)
