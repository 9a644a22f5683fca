"""What the reconciler is told by its environment."""

from functools import cache

from pydantic import PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, at first use. `grace_seconds`: how long the stream has before the reconciler steps in."""

    model_config = SettingsConfigDict(frozen=True)

    table_name: str
    topic_arn: str
    grace_seconds: PositiveInt


@cache
def settings() -> Settings:
    """The settings, validated."""
    return Settings()
