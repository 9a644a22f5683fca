"""The settings of the Slack consumer, from its environment."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use. `slack_token_secret` is the secret's ARN; `slack_channel` a channel's id or name.

    `take`: whether a message has buttons by which humans take its requests.
    """

    slack_token_secret: str
    slack_channel: str
    slack_api_url: str
    take: bool = False


settings = cache(Settings.read)
