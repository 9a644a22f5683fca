"""Alarms on each channel and on the callback: failures, waiting messages, heartbeats."""

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

# After so many receives SQS's metric leaves a message out, so these delays are all that it can show of a retry.
_SEEN_DELAYS: Final = 2


def of_the_channel(
    alarms: AlarmFactory, channel: Destination, consumer: ChannelConsumer, reconciler: Reconciler
) -> Alarms:
    """Create the alarms on a channel's failures and on messages that wait too long."""
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
        # All back-offs.
        oldest, delays = reconciler.measured(Metric.OLDEST_PENDING_AGE, channel=channel), retry.longest
    else:
        # The ledger knows requests, not callbacks. SQS's own metric leaves out what was received three times:
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
        # So of the back-offs it shows the first two, each with a bot's Retry-After.
        oldest = consumer.queue.metric_approximate_age_of_oldest_message(
            period=FIVE_MINUTES, statistic=cloudwatch.Stats.MAXIMUM
        )
        delays = retry.first(_SEEN_DELAYS) + _SEEN_DELAYS * MAX_RETRY_AFTER
    return [
        alarms.add(
            f"{name}DeliveriesFailed", failed, 0,
            f"The consumer gave deliveries by {channel} up. 'assistance dead-letters list --channel {channel}' "
            "says why.",
            of=3, section="DeliveriesFailed",
        ),
        alarms.add(
            # The delays, and one consumer that was killed.
            f"{name}OldestPendingAge", oldest,
            delays + VISIBILITY_TIMEOUTS * config.consumer_timeout_seconds,
            f"A request has waited for {channel} longer than any back-off. Is the consumer enabled? Does Lambda "
            "throttle it? Does the provider limit its rate?",
            section="OldestPendingAge",
        ),
        *alarms.add_for_function(f"{name}Consumer", consumer.function),
    ]  # fmt: skip


def of_the_heartbeat(alarms: AlarmFactory, channel: Channel, heartbeat: Heartbeat) -> Alarms:
    """Create the alarms on a channel's hourly heartbeat."""
    # Twice in a row, so that a provider's bad minute pages nobody. A beat that never came counts as well. Of what
    # is there CloudWatch takes the latest: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
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
                "SES does not report on the heartbeat's mails, so it does not report other bounces either. "
                "'assistance doctor' says whether SES sends, and where it reports.",
                times=3, of=3, comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
                missing=cloudwatch.TreatMissingData.BREACHING,
            )
        )  # fmt: skip
    for alarm in found:
        # The first beat comes before them, where the scheduler starts at once.
        alarm.node.add_dependency(heartbeat)
    return found
