"""The settings of the take page, from its environment variables."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use.

    `take_secret`: the ARN of the secret that signs links. `take_page`: the beginning of these links.
    """

    table_name: str
    take_secret: str
    take_page: str


settings = cache(Settings.read)
