"""The take page, on which a reader of a mail or a Teams card takes a request, and the secret that signs its links."""

import string
from collections.abc import Iterable

from aws_cdk import Stack
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_xray as xray
from constructs import Construct

from infra.api import Api
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.interactive_function import interactive_function, may_read
from infra.linter_exceptions import accept
from infra.table import Table


class TakePage(Construct):
    """The path of a take by link: browser → API → function → table. `consumers` sign links, so they need the secret."""

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
            # Both exclusions mean the same; MiniStack supports only the second.
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                password_length=44, exclude_punctuation=True, exclude_characters=string.punctuation
            ),
        )
        accept(
            secret, "AwsSolutions-SMG4", "Rotation would invalidate links of the last weeks: see docs/operations.md."
        )
        secret.apply_removal_policy(config.removal_policy)
        told = {"TAKE_PAGE": f"{api.public_url}/take/", "TAKE_SECRET": secret.attr_id}
        self.function = interactive_function(
            self,
            "take_page",
            config=config,
            secret=secret,
            output="TakeSecretArn",
            environment={"TABLE_NAME": table.table_name, **told},
        )
        table.grant_items(self.function, "dynamodb:PutItem", "dynamodb:Query")
        for consumer in consumers:
            may_read(consumer.function, secret)
            for name, value in told.items():
                consumer.function.add_environment(name, value)
        api.add_route("take/{token}", ["GET", "POST"], self.function, "Callers need a link with our signature.")
        if config.tracing != "off" and not config.local:
            self._trace_no_link(config)

    def _trace_no_link(self, config: Config) -> None:
        """Exclude the take page from X-Ray, because API Gateway's traces contain the path, and this path has the token.

        The local stack gets no such rule, because its emulator supports none.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-configuring-xray-sampling-rules.html
        """
        name = Stack.of(self).stack_name
        rule = xray.CfnSamplingRule.SamplingRuleProperty(
            rule_name=f"{name}-links", priority=1, fixed_rate=0, reservoir_size=0, version=1, resource_arn="*",
            service_name=f"{name}/{config.stage}", service_type="AWS::ApiGateway::Stage",
            host="*", http_method="*", url_path="*/take/*",
        )  # fmt: skip
        xray.CfnSamplingRule(self, "NoTraces", sampling_rule=rule)
