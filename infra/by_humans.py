"""Settings that the functions for people share: a timeout for somebody who waits, and a secret."""

from collections.abc import Mapping

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.config import Config
from infra.python_function import PythonFunction
from infra.review import skip_checkov


def answering(
    scope: Construct,
    folder: str,
    *,
    config: Config,
    environment: Mapping[str, str],
    secret: secretsmanager.CfnSecret,
    output: str,
) -> PythonFunction:
    """The function in that folder, which may read the secret. `output` names the output that says where that is."""
    function = PythonFunction(
        scope,
        "Function",
        folder=folder,
        config=config,
        # Slack gives up after three seconds: https://docs.slack.dev/interactivity/handling-user-interaction.
        timeout=Duration.seconds(10),
        # It gets a share of a CPU by its memory, and has to start within those three seconds.
        memory_size=1_024,
        # A trace would show the address of a page, and so its token.
        traced_with=frozenset(),
        environment=dict(environment),
    )
    skip_checkov(secret, "CKV_AWS_149", "The key that AWS manages for it lets in nobody outside this account.")
    may_read(function, secret)
    CfnOutput(scope, "SecretArn", value=secret.attr_id).override_logical_id(output)
    return function


def may_read(function: lambda_.Function, secret: secretsmanager.CfnSecret) -> None:
    """Let a function read that secret."""
    function.add_to_role_policy(
        iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[secret.attr_id])
    )
