"""Alarms on each channel and on the callback: failures, waiting messages, failed hourly checks of the providers."""

from typing import Final

from aws_cdk import aws_cloudwatch as cloudwatch

from assistance.failures import MAX_RETRY_AFTER
from assistance.platform.metrics import Metric
from assistance.routing import Channel, Destination
from infra.alarms.factory import FIVE_MINUTES, AlarmFactory, Alarms
from infra.batches import VISIBILITY_TIMEOUTS
from infra.channel import ChannelConsumer
from infra.heartbeat import Heartbeat
from infra.reconciler import Reconciler
from infra.retries import longest

# SQS's metric leaves out a message after its third receive, so it covers only the first two delays between attempts.
_SEEN_DELAYS: Final = 2


def of_the_channel(
    alarms: AlarmFactory, channel: Destination, consumer: ChannelConsumer, reconciler: Reconciler
) -> Alarms:
    """Create the alarms on a channel: failed deliveries, requests that wait too long, errors of the consumer."""
    config, name = alarms.config, channel.capitalize()
    failed = cloudwatch.Metric(
        namespace=alarms.namespace,
        metric_name=Metric.FAILED,
        dimensions_map={"channel": channel},
        period=FIVE_MINUTES,
        statistic=cloudwatch.Stats.SUM,
    )
    retry = config.retry(channel)
    if isinstance(channel, Channel):
        # The reconciler's metric covers a delivery with all the delays between its attempts.
        oldest, delays = reconciler.measured(Metric.OLDEST_PENDING_AGE, channel=channel), longest(retry)
    else:
        # The reconciler measures no callbacks, so use SQS's metric. It leaves out messages received three times:
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
        # So it covers only the first two delays, of which a bot may lengthen each by Retry-After.
        oldest = consumer.queue.metric_approximate_age_of_oldest_message(
            period=FIVE_MINUTES, statistic=cloudwatch.Stats.MAXIMUM
        )
        delays = longest(retry, _SEEN_DELAYS) + _SEEN_DELAYS * MAX_RETRY_AFTER
    return [
        alarms.add(
            f"{name}DeliveriesFailed", failed, 0,
            f"The consumer gave up deliveries by {channel}. 'assistance dead-letters list --channel {channel}' "
            "says why.",
            of=3, section="DeliveriesFailed",
        ),
        alarms.add(
            # The delays between attempts, and the time after which SQS hands out the message of a killed consumer.
            f"{name}OldestPendingAge", oldest,
            delays + VISIBILITY_TIMEOUTS * config.consumer_timeout_seconds,
            f"A request has waited for {channel} longer than all delays between attempts. Is the consumer enabled? "
            "Does Lambda throttle it? Does the provider limit its rate?",
            section="OldestPendingAge",
        ),
        *alarms.add_for_function(f"{name}Consumer", consumer.function),
    ]  # fmt: skip


def of_the_heartbeat(alarms: AlarmFactory, channel: Channel, heartbeat: Heartbeat) -> Alarms:
    """Create the alarms on a channel's heartbeat, the hourly check of its provider."""
    # The alarm needs two failed checks in a row, so that a short disturbance of the provider does not page. A check
    # that did not run counts as failed. If data are missing, CloudWatch uses the latest data points that exist:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
    found = [
        alarms.add(
            f"{channel.capitalize()}Unreachable",
            heartbeat.measured(Metric.UNREACHABLE, channel, cloudwatch.Stats.MAXIMUM), 0,
            f"The hourly heartbeat of {channel} fails, or does not run. Perhaps no request has failed yet. "
            "'assistance doctor' says what is wrong.",
            times=2, of=2, section="Unreachable", missing=cloudwatch.TreatMissingData.BREACHING,
        )
    ]  # fmt: skip
    if channel is Channel.EMAIL:
        found.append(
            alarms.add(
                "EmailFeedbackSilent", heartbeat.measured(Metric.MAIL_FEEDBACK, channel, cloudwatch.Stats.SUM), 1,
                "SES sends no events about the mails of the hourly heartbeat, so bounces of other mails get lost too. "
                "'assistance doctor' says whether SES may send.",
                times=3, of=3, comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
                missing=cloudwatch.TreatMissingData.BREACHING,
            )
        )  # fmt: skip
    for alarm in found:
        # Create the schedule first: it runs the first check at once, so that the alarm has data from the beginning.
        alarm.node.add_dependency(heartbeat)
    return found
