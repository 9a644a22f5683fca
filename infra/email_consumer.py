"""What only the email consumer needs: an identity to send from."""

import json

from aws_cdk import aws_ses as ses
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Channel
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.table import Table


class EmailConsumer(ChannelConsumer):
    """The consumer, and its sender's identity, which SES verifies by a mail to that address."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, topic: sns.Topic) -> None:
        super().__init__(
            scope,
            construct_id,
            channel=Channel.EMAIL,
            config=config,
            table=table,
            topic=topic,
            environment={
                "EMAIL_SENDER": config.email_sender,
                "EMAIL_RECIPIENTS": json.dumps(config.email_recipients),
            },
        )
        identity = ses.EmailIdentity(self, "Sender", identity=ses.Identity.email(config.email_sender))
        identity.grant_send_email(self.function)
