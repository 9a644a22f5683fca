"""What only the Teams consumer needs: the secret for its workflow's URL."""

from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Channel
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.review import accept
from infra.table import Table


class TeamsConsumer(ChannelConsumer):
    """The consumer, and a secret that has no value until somebody puts the workflow's URL into it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, topic: sns.Topic) -> None:
        # A sibling: the construct does not exist before its environment does.
        secret = secretsmanager.CfnSecret(scope, f"{construct_id}Secret", description="URL of a Teams workflow")
        accept(secret, "AwsSolutions-SMG4", "Power Automate issues the URL; Secrets Manager has no way to rotate it.")
        super().__init__(
            scope,
            construct_id,
            channel=Channel.TEAMS,
            config=config,
            table=table,
            topic=topic,
            environment={"TEAMS_SECRET": secret.attr_id, "TEAMS_LOOPBACK": str(config.local)},
        )
        self.read(secret, output="TeamsSecretArn")
