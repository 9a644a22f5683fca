"""The key of the topics that AWS's services publish to."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from assistance.routing import Channel
from infra.config import Config


def aws_managed_sns_key(scope: Construct) -> kms.IKey:
    """The key that AWS manages for SNS, at no charge.

    Its policy lets in whoever may publish in this account, so our functions, but no service principal:
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
    """
    return kms.Alias.from_alias_name(scope, "SnsKey", "alias/aws/sns")


class ServicesKey(kms.Key):
    """Encrypts alarms and SES's events on their way through SNS. Nothing is kept under it once they have arrived.

    Who may publish, and for which account, is for the topics' own policies to say.
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
        publishes = {
            "ses.amazonaws.com": Channel.EMAIL in config.deployed,
            "cloudwatch.amazonaws.com": config.watched,
        }
        for service in (name for name, whether in publishes.items() if whether):
            self.grant(iam.ServicePrincipal(service), "kms:Decrypt", "kms:GenerateDataKey*")
