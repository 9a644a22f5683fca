"""Options that governed accounts require of every stack: see docs/deployment.md.

Control Tower's proactive controls look at a template before CloudFormation creates anything, Config at what is there:
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

_NOBODY: Final = "AlarmTopicArn"


class Governed(Construct):
    """Give each log group a key, and each alarm an action. Make it after everything else."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, key: kms.IKey) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        found = stack.node.find_all()
        logs_key = self._logs_key(config)
        for group in (it for it in found if isinstance(it, logs.CfnLogGroup)):
            group.kms_key_id = logs_key.key_arn
        if alarms := [it for it in found if isinstance(it, cloudwatch.CfnAlarm)]:
            # The pages notify the operators, and each alarm by itself would do so ten times an outage. So nobody is
            # subscribed here, unless an account collects the alarms of all its stacks.
            topic = sns.Topic(self, "Alarms", enforce_ssl=True, master_key=key)
            source = self._arn("cloudwatch", "alarm")
            topic.grant_publish(on_behalf_of(self, "cloudwatch.amazonaws.com", source))
            for alarm in alarms:
                alarm.alarm_actions = [topic.topic_arn]
            CfnOutput(self, _NOBODY, value=topic.topic_arn).override_logical_id(_NOBODY)

    def _logs_key(self, config: Config) -> kms.Key:
        """A key that stays as long as the logs under it, and that CloudWatch Logs may use for those of this account.

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
