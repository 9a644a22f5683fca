"""The settings of the function that handles button presses in Slack."""

from assistance.platform.environment import Environment


class Settings(Environment):
    """The environment variables of the function that handles button presses in Slack."""

    table_name: str
    slack_signing_secret: str  # the ARN of the secret with Slack's signing secret
    slack_app_id: str = ""  # empty if the deployer has not given it
    response_origin: str = ""  # scheme, host and port of the local Slack: only `make run` sets it
