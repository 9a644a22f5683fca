"""The settings of the Teams consumer."""

from collections.abc import Mapping

from pydantic import Field, Json

from assistance.platform.environment import Environment


class Settings(Environment):
    """The Teams consumer's environment variables."""

    teams_secret: str  # the ARN of the secret with the default workflow's URL
    teams_secrets: Json[Mapping[str, str]] = Field(default_factory=dict)  # further such ARNs, by the names in routes
    teams_loopback: bool = False  # True if workflows at http://127.0.0.1 are allowed: only `make run` sets it
    take_page: str = ""  # the beginning of the links by which humans take requests; empty if cards have none
    take_secret: str = ""  # the ARN of the secret that signs these links
