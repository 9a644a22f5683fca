"""The settings of the Slack consumer, from its environment variables."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use.

    `slack_token_secret`: the ARN of the secret with the token. `slack_channel`: the id or name of the default Slack
    channel. `take`: True if messages have buttons by which humans take requests.
    """

    slack_token_secret: str
    slack_channel: str
    slack_api_url: str
    take: bool = False


settings = cache(Settings.read)
