"""The resources that only the Teams consumer has: the secrets for the URLs of Teams workflows."""

from aws_cdk import Stack
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Channel
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.linter_exceptions import accept
from infra.table import Table


class TeamsConsumer(ChannelConsumer):
    """The Teams consumer, and secrets that have no value until somebody stores a workflow's URL in each.

    One secret is the stage's default. Routes may name others in `where`.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, topic: sns.Topic) -> None:
        # The secrets belong to `scope`, because this construct's environment needs them before the construct exists.
        names = ["", *map(str, config.places(Channel.TEAMS))]
        secrets = {name: _secret(scope, f"{construct_id}Secret{name.capitalize()}") for name in names}
        arns = {name: secret.attr_id for name, secret in secrets.items() if name}
        others = {"TEAMS_SECRETS": Stack.of(scope).to_json_string(arns)} if arns else {}
        super().__init__(
            scope,
            construct_id,
            channel=Channel.TEAMS,
            config=config,
            table=table,
            topic=topic,
            environment={"TEAMS_SECRET": secrets[""].attr_id, "TEAMS_LOOPBACK": str(config.local), **others},
        )
        for name, secret in secrets.items():
            self.read(secret, output=f"Teams{name.capitalize()}SecretArn")


def _secret(scope: Construct, construct_id: str) -> secretsmanager.CfnSecret:
    secret = secretsmanager.CfnSecret(scope, construct_id, description="URL of a Teams workflow")
    accept(secret, "AwsSolutions-SMG4", "Power Automate issues the URL; Secrets Manager has no way to rotate it.")
    return secret
