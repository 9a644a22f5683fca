"""The function that Slack calls when a user clicks a button, and the secret that verifies Slack's signature."""

from urllib.parse import urlsplit

from aws_cdk import CfnOutput
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.api import Api
from infra.config import Config
from infra.interactive_function import interactive_function
from infra.linter_exceptions import accept
from infra.table import Table

PATH = "slack/interactions"


class SlackInteractions(Construct):
    """The path of a pressed button: Slack → API → function → table. Operators must store Slack's signing secret."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, api: Api) -> None:
        super().__init__(scope, construct_id)
        secret = secretsmanager.CfnSecret(self, "Secret", description="Signing secret of the Slack app")
        accept(secret, "AwsSolutions-SMG4", "Slack issues the secret; Secrets Manager has no way to rotate it.")
        secret.apply_removal_policy(config.removal_policy)
        slack = urlsplit(config.slack_api_url)
        self.function = interactive_function(
            self,
            "slack_interactions",
            config=config,
            secret=secret,
            output="SlackSigningSecretArn",
            environment={
                "TABLE_NAME": table.table_name,
                "SLACK_SIGNING_SECRET": secret.attr_id,
                "SLACK_APP_ID": config.slack_app_id or "",
                "RESPONSE_ORIGIN": f"{slack.scheme}://{slack.netloc}" if config.local else "",
            },
        )
        table.grant_items(self.function, "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query")
        api.add_route(PATH, ["POST"], self.function, "Slack signs its calls.")
        CfnOutput(self, "Url", value=f"{api.url}/{PATH}").override_logical_id("SlackInteractionsUrl")
