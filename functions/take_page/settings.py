"""The settings of the take page, from its environment."""

from functools import cache

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use. `take_secret` is the ARN of the secret that signs links, and `take_page` their start."""

    table_name: str
    take_secret: str
    take_page: str


settings = cache(Settings.read)
