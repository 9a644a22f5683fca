"""The resource that only the Slack consumer has: the secret for the bot token."""

from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Channel
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.linter_exceptions import accept
from infra.table import Table


class SlackConsumer(ChannelConsumer):
    """The Slack consumer, and a secret that has no value until somebody puts the bot token into it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, topic: sns.Topic) -> None:
        # The secret belongs to `scope`, because this construct's environment needs it before the construct exists.
        secret = secretsmanager.CfnSecret(scope, f"{construct_id}Token", description="Slack bot token (xoxb-…)")
        accept(secret, "AwsSolutions-SMG4", "Slack issues the token; Secrets Manager has no way to rotate it.")
        super().__init__(
            scope,
            construct_id,
            channel=Channel.SLACK,
            config=config,
            table=table,
            topic=topic,
            environment={
                "SLACK_TOKEN_SECRET": secret.attr_id,
                "SLACK_CHANNEL": config.slack_channel,
                "SLACK_API_URL": config.slack_api_url,
                **({"TAKE": "true"} if config.take else {}),
            },
        )
        self.read(secret, output="SlackTokenSecretArn")
