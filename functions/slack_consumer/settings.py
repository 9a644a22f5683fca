"""The settings of the Slack consumer."""

from pydantic import NonNegativeInt

from assistance import routing
from assistance.platform.environment import Environment
from assistance.routing import Channel


class Settings(Environment):
    """The Slack consumer's environment variables."""

    slack_token_secret: str  # the ARN of the secret with the token
    slack_channel: str  # the id or name of the default Slack channel
    slack_api_url: str
    retry_doubt_delay: NonNegativeInt  # for how many seconds after an attempt Slack may still post its message
    take: bool = False  # True if messages have buttons by which humans take requests


def place(topic: str) -> str:
    """The Slack channel in which requests of that topic are posted at present."""
    own = routing.place(topic, Channel.SLACK)
    return own if isinstance(own, str) else Settings.read().slack_channel
