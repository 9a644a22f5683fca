"""Options that governed AWS accounts, those with an organization's rules, require of stacks: docs/deployment.md.

Control Tower's proactive controls check a template before CloudFormation creates anything; AWS Config checks resources
that exist:
https://docs.aws.amazon.com/controltower/latest/controlreference/cloudwatch-rules.html
"""

from typing import Final

from aws_cdk import ArnFormat, CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.config import Config
from infra.encryption import on_behalf_of

_OUTPUT: Final = "AlarmTopicArn"


class Governed(Construct):
    """Gives each log group of the stack a KMS key, and each alarm a topic to notify. Create it last."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, key: kms.IKey) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        found = stack.node.find_all()
        logs_key = self._logs_key(config)
        for group in (it for it in found if isinstance(it, logs.CfnLogGroup)):
            group.kms_key_id = logs_key.key_arn
        if alarms := [it for it in found if isinstance(it, cloudwatch.CfnAlarm)]:
            # The composite alarms notify the operators. The alarms of one outage would do so about ten times. So this
            # topic has no subscribers, unless a deployer adds one to collect all alarms.
            topic = sns.Topic(self, "Alarms", enforce_ssl=True, master_key=key)
            source = self._arn("cloudwatch", "alarm")
            topic.grant_publish(on_behalf_of(self, "cloudwatch.amazonaws.com", source))
            for alarm in alarms:
                alarm.alarm_actions = [topic.topic_arn]
            CfnOutput(self, _OUTPUT, value=topic.topic_arn).override_logical_id(_OUTPUT)

    def _logs_key(self, config: Config) -> kms.Key:
        """A key for log groups, kept as long as the groups. CloudWatch Logs may use it for this account's log groups.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
        """
        key = kms.Key(
            self,
            "LogsKey",
            description="The logs of the functions",
            enable_key_rotation=True,
            pending_window=Duration.days(30 if config.production else 7),
            removal_policy=config.removal_policy,
        )
        groups = {"kms:EncryptionContext:aws:logs:arn": self._arn("logs", "log-group")}
        key.grant(
            iam.ServicePrincipal(f"logs.{Stack.of(self).region}.amazonaws.com", conditions={"ArnLike": groups}),
            "kms:Encrypt*",
            "kms:Decrypt*",
            "kms:ReEncrypt*",
            "kms:GenerateDataKey*",
            "kms:Describe*",
        )
        return key

    def _arn(self, service: str, resource: str) -> str:
        return Stack.of(self).format_arn(
            service=service, resource=resource, resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
