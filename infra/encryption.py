"""The KMS keys of the SNS topics."""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.config import Config


def aws_managed_sns_key(scope: Construct) -> kms.IKey:
    """The KMS key that AWS manages for SNS, at no charge.

    The key's policy admits this account's roles that may publish to SNS, such as our functions', but no AWS service:
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
    """
    return kms.Alias.from_alias_name(scope, "SnsKey", "alias/aws/sns")


def on_behalf_of(scope: Construct, service: str, source: str) -> iam.ServicePrincipal:
    """An AWS service as a principal, on condition that it acts for a resource of this account with the ARN `source`.

    The condition prevents that somebody's resource in another account makes the service use our topics and keys:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    account = {"aws:SourceAccount": Stack.of(scope).account}
    return iam.ServicePrincipal(service, conditions={"StringEquals": account, "ArnLike": {"aws:SourceArn": source}})


class ServicesKey(kms.Key):
    """Encrypts alarms and SES's events while they pass through SNS. After that, nothing encrypted with it remains.

    The construct of each topic lets the publishing service use the key, under the same conditions as in the topic's
    policy. The key policy's statement for the account has no condition, or else nobody could change the key:
    https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """

    def __init__(self, scope: Construct, construct_id: str, config: Config) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Alarms and SES's events on their way through SNS",
            enable_key_rotation=True,
            # A key that waits for its deletion costs nothing: https://aws.amazon.com/kms/pricing/
            pending_window=Duration.days(30 if config.production else 7),
            removal_policy=RemovalPolicy.DESTROY,
        )
