"""The settings of the email consumer."""

from pydantic import Json

from assistance.platform.environment import Environment


class Settings(Environment):
    """The email consumer's environment variables."""

    email_sender: str
    email_sender_name: str = ""  # mail programs show it instead of the sender's address, unless it is empty
    email_recipients: Json[tuple[str, ...]]  # the default recipients' addresses
    email_configuration_set: str
    take_page: str = ""  # the beginning of the links by which humans take requests; empty if mails have none
    take_secret: str = ""  # the ARN of the secret that signs these links
