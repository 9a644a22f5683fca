"""The settings of the stream producer."""

from assistance.platform.environment import Environment


class Settings(Environment):
    """The stream producer's environment variables."""

    table_name: str
    topic_arn: str
