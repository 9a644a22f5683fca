"""The settings of the take page."""

from assistance.platform.environment import Environment


class Settings(Environment):
    """The take page's environment variables."""

    table_name: str
    take_secret: str  # the ARN of the secret that signs links
    take_page: str  # the beginning of these links
