"""The common part of the take page and Slack's buttons: a function with a secret, for whose answer a person waits."""

from collections.abc import Mapping

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.config import Config
from infra.linter_exceptions import skip_checkov
from infra.python_function import PythonFunction


def interactive_function(
    scope: Construct,
    folder: str,
    *,
    config: Config,
    environment: Mapping[str, str],
    secret: secretsmanager.CfnSecret,
    output: str,
) -> PythonFunction:
    """Create the function whose code is in `functions/<folder>`, and let it read the secret.

    `output`: the name of the stack output that holds the secret's ARN.
    """
    function = PythonFunction(
        scope,
        "Function",
        folder=folder,
        config=config,
        # Slack gives up after three seconds: https://docs.slack.dev/interactivity/handling-user-interaction.
        timeout=Duration.seconds(10),
        # Lambda allots CPU in proportion to memory. The function must start and answer within those three seconds.
        memory_size=1_024,
        # A trace would contain the URL of a take page, and so its secret token.
        traced_with=frozenset(),
        environment=dict(environment),
    )
    skip_checkov(secret, "CKV_AWS_149", "It is encrypted with AWS's managed key, which no other account can use.")
    may_read(function, secret)
    CfnOutput(scope, "SecretArn", value=secret.attr_id).override_logical_id(output)
    return function


def may_read(function: lambda_.Function, secret: secretsmanager.CfnSecret) -> None:
    """Let a function read the value of a secret."""
    function.add_to_role_policy(
        iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[secret.attr_id])
    )
