"""The settings of the function that handles button presses in Slack, from its environment variables."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use.

    `slack_signing_secret`: the ARN of the secret with Slack's signing secret. `slack_app_id`: the Slack app's id; empty
    if the deployer has not given it. `response_origin`: scheme, host and port of the local Slack, which only `make run`
    sets.
    """

    table_name: str
    slack_signing_secret: str
    slack_app_id: str = ""
    response_origin: str = ""


settings = cache(Settings.read)
