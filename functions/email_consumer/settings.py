"""The settings of the email consumer, from its environment variables."""

from functools import cache

from pydantic import Json

from assistance.platform.environment import Environment


class Settings(Environment):
    """Environment variables, read once, at first use.

    `email_sender_name`: the name that mail programs show instead of the sender's address; empty for none.
    `email_recipients`: a JSON list of the default recipients' addresses. `take_page`: the beginning of the links by
    which humans take requests; empty if mails have none. `take_secret`: the ARN of the secret that signs these links.
    """

    email_sender: str
    email_sender_name: str = ""
    email_recipients: Json[tuple[str, ...]]
    email_configuration_set: str
    take_page: str = ""
    take_secret: str = ""


settings = cache(Settings.read)
