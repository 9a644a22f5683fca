"""What Slack calls when a human presses a button: the function, and the secret by which it knows Slack."""

from urllib.parse import urlsplit

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.api import Api
from infra.config import Config
from infra.python_function import PythonFunction
from infra.review import accept, skip_checkov
from infra.table import Table

PATH = "slack/interactions"


class SlackInteractions(Construct):
    """Slack → API → function → table. The secret has no value until somebody puts the app's signing secret into it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, api: Api) -> None:
        super().__init__(scope, construct_id)
        secret = secretsmanager.CfnSecret(self, "Secret", description="Signing secret of the Slack app")
        accept(secret, "AwsSolutions-SMG4", "Slack issues the secret; Secrets Manager has no way to rotate it.")
        skip_checkov(secret, "CKV_AWS_149", "The key that AWS manages for it lets in nobody outside this account.")
        slack = urlsplit(config.slack_api_url)
        self.function = PythonFunction(
            self,
            "Function",
            folder="slack_interactions",
            config=config,
            # Slack gives up after three seconds: https://docs.slack.dev/interactivity/handling-user-interaction.
            timeout=Duration.seconds(10),
            # It gets a share of a CPU by its memory, and has to start within those three seconds.
            memory_size=1_024,
            traced=False,
            environment={
                "TABLE_NAME": table.table_name,
                "SLACK_SIGNING_SECRET": secret.attr_id,
                "SLACK_APP_ID": config.slack_app_id or "",
                "RESPONSE_ORIGIN": f"{slack.scheme}://{slack.netloc}" if config.local else "",
            },
        )
        self.function.add_to_role_policy(
            iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[secret.attr_id])
        )
        table.grant_items(self.function, "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Query")
        api.let_in(PATH, ["POST"], self.function, "Slack signs its calls.")
        CfnOutput(self, "SecretArn", value=secret.attr_id).override_logical_id("SlackSigningSecretArn")
        CfnOutput(self, "Url", value=f"{api.url}/{PATH}").override_logical_id("SlackInteractionsUrl")
