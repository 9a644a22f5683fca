"""The settings of the Slack consumer."""

from assistance.platform.environment import Environment


class Settings(Environment):
    """The Slack consumer's environment variables."""

    slack_token_secret: str  # the ARN of the secret with the token
    slack_channel: str  # the id or name of the default Slack channel
    slack_api_url: str
    take: bool = False  # True if messages have buttons by which humans take requests
