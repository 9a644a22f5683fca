"""What pages an operator."""

from collections.abc import Mapping

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Config


class Monitoring(Construct):
    """An alarm on the depth of every dead-letter queue, to the operators' topic. `dlqs` says what lies in each."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Config, dlqs: Mapping[str, tuple[sqs.Queue, str]]
    ) -> None:
        super().__init__(scope, construct_id)
        operators = sns.Topic(self, "Operators", enforce_ssl=True)
        # The topic's own policy takes the place of the default one, by which CloudWatch may publish:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
        operators.grant_publish(
            iam.ServicePrincipal(
                "cloudwatch.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        if config.operator_email:
            operators.add_subscription(subscriptions.EmailSubscription(config.operator_email))
        for name, (dlq, meaning) in dlqs.items():
            alarm = cloudwatch.Alarm(
                self,
                name,
                metric=dlq.metric_approximate_number_of_messages_visible(
                    period=Duration.minutes(1), statistic="Maximum"
                ),
                threshold=0,
                comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
                evaluation_periods=1,
                treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
                alarm_description=f"{meaning} See 'Operate it' in the README.",
            )
            alarm.add_alarm_action(actions.SnsAction(operators))
            alarm.add_ok_action(actions.SnsAction(operators))
        CfnOutput(self, "TopicArn", value=operators.topic_arn).override_logical_id("OperatorTopicArn")
