"""The resource that only the callback consumer has: the secret with the keys that sign callbacks."""

import string

from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import CALLBACK
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.linter_exceptions import accept
from infra.table import Table


class CallbackConsumer(ChannelConsumer):
    """The callback's consumer, and a secret with one generated key that signs callbacks.

    A signing key is 24 to 64 bytes in Base64. The generated 44 letters and digits are valid Base64, for 33 bytes.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, topic: sns.Topic) -> None:
        # The secret belongs to `scope`, because this construct's environment needs it before the construct exists.
        secret = secretsmanager.CfnSecret(
            scope,
            f"{construct_id}Secret",
            description="Keys that callbacks are signed with, separated by spaces",
            # Both exclusions mean the same; MiniStack supports only the second.
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                password_length=44, exclude_punctuation=True, exclude_characters=string.punctuation
            ),
        )
        accept(secret, "AwsSolutions-SMG4", "The bots must get a new key before it is used: see docs/deployment.md.")
        super().__init__(
            scope,
            construct_id,
            channel=CALLBACK,
            config=config,
            table=table,
            topic=topic,
            environment={
                "CALLBACK_SECRET": secret.attr_id,
                "CALLBACK_LOOPBACK": str(config.local),
                # A DNS look-up must end before CONNECT_SECONDS of functions/callback_consumer/egress.py.
                # https://man7.org/linux/man-pages/man5/resolv.conf.5.html
                "RES_OPTIONS": "timeout:1 attempts:2",
            },
        )
        self.read(secret, output="CallbackSecretArn")
