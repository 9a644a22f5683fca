"""What the email feedback is told by its environment."""

from functools import cache

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, at first use."""

    model_config = SettingsConfigDict(frozen=True)

    table_name: str
    email_dlq_url: str


@cache
def settings() -> Settings:
    """The settings, validated."""
    return Settings()
