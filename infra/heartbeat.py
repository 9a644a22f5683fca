"""The schedules of the heartbeats, the hourly checks of the channels' providers: assistance/engine/heartbeat.py."""

from collections.abc import Mapping
from typing import cast

from aws_cdk import CfnElement, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from assistance.engine.heartbeat import EVENT
from assistance.platform.metrics import Metric
from assistance.routing import Channel
from infra.channel import ChannelConsumer
from infra.linter_exceptions import accept

INTERVAL = Duration.hours(1)


class Heartbeat(Construct):
    """Lets each channel's consumer check its provider every hour: its role can already read the secret and send."""

    def __init__(self, scope: Construct, construct_id: str, *, consumers: Mapping[Channel, ChannelConsumer]) -> None:
        super().__init__(scope, construct_id)
        for channel, consumer in consumers.items():
            function = consumer.function
            # A failed check is not repeated: the next one follows in an hour.
            function.configure_async_invoke(retry_attempts=0, max_event_age=INTERVAL)
            earlier = {child.node.id for child in Stack.of(self).node.children}
            scheduler.Schedule(
                self,
                channel.capitalize(),
                schedule=scheduler.ScheduleExpression.rate(INTERVAL),
                target=targets.LambdaInvoke(
                    function,
                    input=scheduler.ScheduleTargetInput.from_object({EVENT: True}),
                    retry_attempts=0,
                    max_event_age=INTERVAL,
                ),
            )
            [role] = (child for child in Stack.of(self).node.children if child.node.id not in earlier)
            name = Stack.of(self).get_logical_id(cast("CfnElement", function.node.default_child))
            accept(
                role,
                f"AwsSolutions-IAM5[Resource::<{name}.Arn>:*]",
                "The CDK also lets the schedule invoke versions of this function, but it has none.",
            )

    def measured(self, metric: Metric, channel: Channel, statistic: str) -> cloudwatch.Metric:
        """Return a metric that the hourly check of the channel's provider emits."""
        return cloudwatch.Metric(
            namespace=Stack.of(self).stack_name,
            metric_name=metric,
            dimensions_map={"channel": channel},
            period=INTERVAL,
            statistic=statistic,
        )
