"""The reconciler function and its schedule."""

from collections.abc import Mapping
from typing import cast

from aws_cdk import CfnElement, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.routing import Destination
from infra.channel import ChannelConsumer
from infra.config import Config
from infra.linter_exceptions import accept
from infra.python_function import PythonFunction
from infra.table import Table

# Shorter than a minute, the shortest interval between two runs.
TIMEOUT = Duration.seconds(50)


class Reconciler(Construct):
    """The function that publishes overdue outbox entries and checks unfinished requests, and its schedule.

    The timeout is shorter than the interval, so two sweeps seldom run at the same time. If an operator starts one
    during another, both may publish the same message; the consumers send it once.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        table: Table,
        topic: sns.Topic,
        consumers: Mapping[Destination, ChannelConsumer],
    ) -> None:
        super().__init__(scope, construct_id)
        self.function = function = PythonFunction(
            self,
            "Function",
            folder="reconciler",
            config=config,
            timeout=TIMEOUT,
            # Not traced: there would be a trace every minute, and none would belong to a bot's call.
            traced_with=frozenset(),
            environment={
                "TABLE_NAME": table.table_name,
                "TOPIC_ARN": topic.topic_arn,
                "GRACE_SECONDS": str(config.grace_seconds),
                "OVERDUE_SECONDS": str(config.overdue_seconds),
                "ROUTES": config.routes_variable,
                **({"TAKE": "true"} if config.take else {}),
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
        table.grant_index_queries(function)
        table.grant_items(
            function,
            "dynamodb:BatchGetItem",
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
        self._interval = interval = Duration.minutes(config.reconcile_interval_minutes)
        # The scheduler invokes the function asynchronously. Without these settings, it and Lambda would repeat a failed
        # invocation for hours, although the next run does the same:
        # https://docs.aws.amazon.com/scheduler/latest/APIReference/API_RetryPolicy.html
        # https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        function.configure_async_invoke(retry_attempts=0, max_event_age=interval)
        scheduler.Schedule(
            self,
            "Schedule",
            schedule=scheduler.ScheduleExpression.rate(interval),
            target=targets.LambdaInvoke(function, retry_attempts=0, max_event_age=interval),
        )
        stack = Stack.of(self)
        (role,) = (child for child in stack.node.children if child.node.id.startswith("SchedulerRoleForTarget"))
        name = stack.get_logical_id(cast("CfnElement", function.node.default_child))
        accept(
            role,
            f"AwsSolutions-IAM5[Resource::<{name}.Arn>:*]",
            "The CDK also lets the schedule invoke versions of this function, but it has none.",
        )

    def measured(
        self, name: str, statistic: str = cloudwatch.Stats.MAXIMUM, *, label: str | None = None, **dimensions: str
    ) -> cloudwatch.Metric:
        """Return a metric that each sweep emits (functions/reconciler/handler.py). `dimensions`: e.g. the channel."""
        return cloudwatch.Metric(
            namespace=Stack.of(self).stack_name,
            metric_name=name,
            dimensions_map=dimensions or {"service": "reconciler"},
            period=Duration.minutes(max(5, 2 * self._interval.to_minutes())),
            statistic=statistic,
            label=label,
        )
