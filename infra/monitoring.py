"""What pages an operator."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Config

_MINUTE: Final = Duration.minutes(1)
# Emitted by SNS when a message has no attributes to filter by, or none that can be read:
# https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html
_FILTERED_OUT: Final = ("NoMessageAttributes", "InvalidAttributes")


class Monitoring(Construct):
    """The alarms, and the topic that they go to. `dlqs` says what lies in each dead-letter queue."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        topic: sns.Topic,
        dlqs: Mapping[str, tuple[sqs.Queue, str]],
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        self._operators = sns.Topic(self, "Operators", enforce_ssl=True, master_key=key)
        # The topic's own policy takes the place of the default one, by which CloudWatch may publish:
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
        self._operators.grant_publish(
            iam.ServicePrincipal(
                "cloudwatch.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        if config.operator_email:
            self._operators.add_subscription(subscriptions.EmailSubscription(config.operator_email))
        for name, (dlq, meaning) in dlqs.items():
            # Whoever looks at a letter takes it out of sight for a second or two. That may hide it from one sample, but
            # not from three minutes' samples; one that shows it is enough.
            visible = dlq.metric_approximate_number_of_messages_visible(
                period=_MINUTE, statistic=cloudwatch.Stats.MAXIMUM
            )
            self._alarm(name, visible, 0, meaning, minutes=3)
        self._watch_the_ledger(config)
        for reason in _FILTERED_OUT:
            metric = topic.metric(
                f"NumberOfNotificationsFilteredOut-{reason}", period=_MINUTE, statistic=cloudwatch.Stats.SUM
            )
            self._alarm(f"DroppedFor{reason}", metric, 0, "SNS found no subscription for a message.")
        CfnOutput(self, "TopicArn", value=self._operators.topic_arn).override_logical_id("OperatorTopicArn")

    def _watch_the_ledger(self, config: Config) -> None:
        """What the reconciler measures: functions/reconciler/handler.py."""
        unpublished = config.grace_seconds + 60 * (config.reconcile_interval_minutes + 5)
        # Both channels given up one after the other, and room for what waits in front of it.
        unended = 2 * config.longest_delays + config.overdue_seconds
        watched = (
            ("OldestUnpublishedAge", unpublished, "Requests are not published."),
            ("OldestOpenAge", unended, "A request has neither been delivered nor failed, or the reconciler is down."),
            ("LostRequests", 0, "Messages were in no queue; they have been published again."),
            ("StuckDeliveries", 0, "An attempt has died, and nothing has taken it up."),
        )
        for name, threshold, meaning in watched:
            metric = cloudwatch.Metric(
                # As the Powertools metrics name them: the namespace is the stack's name.
                namespace=Stack.of(self).stack_name,
                metric_name=name,
                dimensions_map={"service": "reconciler"},
                period=Duration.minutes(max(5, 2 * config.reconcile_interval_minutes)),
                statistic=cloudwatch.Stats.MAXIMUM,
            )
            # The reconciler measures at every run, so silence means that it does not run; one alarm says so.
            missing = (
                cloudwatch.TreatMissingData.BREACHING
                if name == "OldestOpenAge"
                else cloudwatch.TreatMissingData.NOT_BREACHING
            )
            self._alarm(name, metric, threshold, meaning, missing=missing)

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: int,
        meaning: str,
        *,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
        minutes: int = 1,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=minutes,
            datapoints_to_alarm=1,
            treat_missing_data=missing,
            alarm_description=f"{meaning} See 'Operate it' in the README.",
        )
        alarm.add_alarm_action(actions.SnsAction(self._operators))
        alarm.add_ok_action(actions.SnsAction(self._operators))
