"""The settings of the Teams consumer, from its environment variables."""

from collections.abc import Mapping
from functools import cache

from pydantic import Field, Json

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use.

    `teams_secret`: the ARN of the secret with the default workflow's URL. `teams_secrets`: the ARNs of further such
    secrets, by the names that routes use. `teams_loopback`: True if workflows at http://127.0.0.1 are allowed, which
    only `make run` sets. `take_page`: the beginning of the links by which humans take requests; empty if cards have
    none. `take_secret`: the ARN of the secret that signs these links.
    """

    teams_secret: str
    teams_secrets: Json[Mapping[str, str]] = Field(default_factory=dict)
    teams_loopback: bool = False
    take_page: str = ""
    take_secret: str = ""


settings = cache(Settings.read)
