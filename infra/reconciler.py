"""The reconciler and its schedule."""

from collections.abc import Mapping

from aws_cdk import Duration, Stack
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Channel
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.python_function import PythonFunction
from infra.table import Table


class Reconciler(Construct):
    """Sweeps the outbox and keeps the ledger.

    Its timeout is shorter than the interval, and a lease in the table keeps two sweeps apart.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        table: Table,
        topic: sns.Topic,
        consumers: Mapping[Channel, ChannelConsumer],
    ) -> None:
        super().__init__(scope, construct_id)
        function = PythonFunction(
            self,
            "Function",
            folder="reconciler",
            config=config,
            timeout=Duration.seconds(50),
            environment={
                "TABLE_NAME": table.table_name,
                "TOPIC_ARN": topic.topic_arn,
                "GRACE_SECONDS": str(config.grace_seconds),
                "OVERDUE_SECONDS": str(config.overdue_seconds),
                "RETENTION_DAYS": str(config.retention_days),
                "QUEUES": Stack.of(self).to_json_string(
                    {
                        str(channel): {
                            "queue": consumer.queue.queue_url,
                            "dlqs": [consumer.dlq.queue_url, consumer.subscription_dlq.queue_url],
                        }
                        for channel, consumer in consumers.items()
                    }
                ),
            },
        )
        table.grant(
            function,
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        )
        topic.grant_publish(function)
        for consumer in consumers.values():
            consumer.queue.grant(function, "sqs:GetQueueAttributes")
            for dlq in (consumer.dlq, consumer.subscription_dlq):
                dlq.grant(function, "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility")
        scheduler.Schedule(
            self,
            "Schedule",
            schedule=scheduler.ScheduleExpression.rate(Duration.minutes(config.reconcile_interval_minutes)),
            # The next run does what this one could not.
            target=targets.LambdaInvoke(function, retry_attempts=0),
        )
