"""What the producer is told by its environment."""

from functools import cache

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, at first use."""

    model_config = SettingsConfigDict(frozen=True)

    table_name: str
    topic_arn: str


@cache
def settings() -> Settings:
    """The settings, validated."""
    return Settings()
