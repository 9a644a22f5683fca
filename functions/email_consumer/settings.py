"""The settings of the email consumer, from its environment."""

from functools import cache

from pydantic import Json

from assistance.platform.environment import Environment


class Settings(Environment):
    """Read once, at first use. `email_recipients` is a JSON list of addresses.

    `email_sender_name` is what mail programs show instead of the sender's address, unless it is empty.
    Links by which humans take requests begin with `take_page`, unless there are none. `take_secret` is the ARN of the
    secret that signs these.
    """

    email_sender: str
    email_sender_name: str = ""
    email_recipients: Json[tuple[str, ...]]
    email_configuration_set: str
    take_page: str = ""
    take_secret: str = ""


settings = cache(Settings.read)
