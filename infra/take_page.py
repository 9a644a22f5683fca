"""The page by which the reader of a mail or a card takes a request, and the secret that signs the links to it."""

import string
from collections.abc import Iterable

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_xray as xray
from constructs import Construct

from infra.api import Api
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.python_function import PythonFunction
from infra.review import accept, skip_checkov
from infra.table import Table


class TakePage(Construct):
    """Browser → API → function → table. `consumers` are those that send links: they and the page read the secret."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        table: Table,
        api: Api,
        consumers: Iterable[ChannelConsumer],
    ) -> None:
        super().__init__(scope, construct_id)
        secret = secretsmanager.CfnSecret(
            self,
            "Secret",
            description="Keys that links to take requests are signed with, separated by spaces",
            # Said twice, for MiniStack knows only the second.
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                password_length=44, exclude_punctuation=True, exclude_characters=string.punctuation
            ),
        )
        accept(secret, "AwsSolutions-SMG4", "Links of the last weeks would stop working: docs/operations.md says how.")
        skip_checkov(secret, "CKV_AWS_149", "The key that AWS manages for it lets in nobody outside this account.")
        start = f"{api.public_url}/take/"
        self.function = PythonFunction(
            self,
            "Function",
            folder="take_page",
            config=config,
            timeout=Duration.seconds(10),
            # Somebody waits for the page, and a share of a CPU comes with the memory.
            memory_size=1_024,
            # A trace would show the address, and so the token.
            traced=False,
            environment={"TABLE_NAME": table.table_name},
        )
        table.grant_items(self.function, "dynamodb:PutItem", "dynamodb:Query")
        for function in (self.function, *(consumer.function for consumer in consumers)):
            self._tell(function, start, secret)
        api.let_in("take/{token}", ["GET", "POST"], self.function, "Whoever calls it holds a link that we have signed.")
        if config.tracing and not config.local:
            self._trace_no_link(config)
        CfnOutput(self, "SecretArn", value=secret.attr_id).override_logical_id("TakeSecretArn")

    def _trace_no_link(self, config: Config) -> None:
        """API Gateway's traces show the path as it was called, which here holds the token. MiniStack has no such rules.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-configuring-xray-sampling-rules.html
        """
        name = Stack.of(self).stack_name
        rule = xray.CfnSamplingRule.SamplingRuleProperty(
            rule_name=f"{name}-links", priority=1, fixed_rate=0, reservoir_size=0, version=1, resource_arn="*",
            service_name=f"{name}/{config.stage}", service_type="AWS::ApiGateway::Stage",
            host="*", http_method="*", url_path="*/take/*",
        )  # fmt: skip
        xray.CfnSamplingRule(self, "NoTraces", sampling_rule=rule)

    @staticmethod
    def _tell(function: lambda_.Function, start: str, secret: secretsmanager.CfnSecret) -> None:
        function.add_environment("TAKE_PAGE", start)
        function.add_environment("TAKE_SECRET", secret.attr_id)
        function.add_to_role_policy(
            iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[secret.attr_id])
        )
