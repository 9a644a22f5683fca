"""The key of the topics to which AWS's services publish."""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.config import Config


def aws_managed_sns_key(scope: Construct) -> kms.IKey:
    """The key that AWS manages for SNS, at no charge.

    Its policy lets in whoever may publish in this account, so our functions, but no service principal:
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
    """
    return kms.Alias.from_alias_name(scope, "SnsKey", "alias/aws/sns")


def on_behalf_of(scope: Construct, service: str, source: str) -> iam.ServicePrincipal:
    """A service that publishes, as long as it does so for a resource of this account with that ARN.

    So it can't be made to by somebody else's resource:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    account = {"aws:SourceAccount": Stack.of(scope).account}
    return iam.ServicePrincipal(service, conditions={"StringEquals": account, "ArnLike": {"aws:SourceArn": source}})


class ServicesKey(kms.Key):
    """Encrypts alarms and SES's events on their way through SNS. Nothing is kept under it once they have arrived.

    Each topic's construct lets the service that publishes to it use the key, under the conditions under which it may
    publish. The statement for the account has no condition, or nobody could change the key:
    https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """

    def __init__(self, scope: Construct, construct_id: str, config: Config) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Alarms and SES's events on their way through SNS",
            enable_key_rotation=True,
            # Not billed while it waits: https://aws.amazon.com/kms/pricing/
            pending_window=Duration.days(30 if config.production else 7),
            removal_policy=RemovalPolicy.DESTROY,
        )
