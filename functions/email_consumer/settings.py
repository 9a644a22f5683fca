"""What the email consumer is told by its environment."""

from functools import cache

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, at first use. `email_recipients` is a JSON list of addresses."""

    model_config = SettingsConfigDict(frozen=True)

    email_sender: str
    email_recipients: tuple[str, ...]
    email_configuration_set: str


@cache
def settings() -> Settings:
    """The settings, validated."""
    return Settings()
