"""The settings of Slack's interactions, from its environment."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use.

    `slack_signing_secret` is the secret's ARN, and `slack_app_id` the app's id, if the deployer has named it.
    `response_origin` is set on one machine only: the local Slack's scheme, host and port.
    """

    table_name: str
    slack_signing_secret: str
    slack_app_id: str = ""
    response_origin: str = ""


settings = cache(Settings.read)
