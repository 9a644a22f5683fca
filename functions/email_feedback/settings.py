"""The settings of the function that handles SES's events."""

from assistance.platform.environment import Environment


class Settings(Environment):
    """The environment variables of the function that handles SES's events."""

    table_name: str
    email_dlq_url: str
