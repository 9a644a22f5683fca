"""Alarms on dead letters: one if a dead-letter queue is not empty, one before SQS deletes its oldest message."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs

from assistance.routing import Destination
from infra.alarms.factory import AlarmFactory, Alarms
from infra.channel import ChannelConsumer
from infra.config import QUEUE_RETENTION_DAYS
from infra.dead_letters import RETENTION_DAYS
from infra.email_feedback import EmailFeedback
from infra.stream_producer import StreamProducer

# Page three days before the first dead letter can expire, so that a long weekend fits in between.
_NOTICE_DAYS: Final = 3
_HOURS_WAITED: Final = 24 * (RETENTION_DAYS - QUEUE_RETENTION_DAYS - _NOTICE_DAYS)
# The alarm goes off even if CloudWatch lacks data for this many of `_HOURS_WAITED`.
_HOURS_MISSED: Final = 4


def of_the_dead_letters(
    alarms: AlarmFactory,
    producer: StreamProducer,
    consumers: Mapping[Destination, ChannelConsumer],
    feedback: EmailFeedback | None,
) -> Alarms:
    """Create the alarms on dead-letter queues that are not empty."""
    found = []
    for channel, consumer in consumers.items():
        name, look = channel.capitalize(), f"'assistance dead-letters list --channel {channel}' says why."
        given_up = f"Requests could not be delivered by {channel}. {look} Correct the cause, then redrive."
        unreached = f"SNS could not write to {channel}'s queue. {look} Correct the cause, then redrive."
        found += [
            alarms.add_for_dead_letters(f"{name}DeadLetters", consumer.dlq, given_up, section="DeadLetters"),
            alarms.add_for_dead_letters(
                f"{name}SubscriptionDeadLetters", consumer.subscription_dlq, unreached,
                section="SubscriptionDeadLetters",
            ),
        ]  # fmt: skip
    return [
        *found,
        alarms.add_for_dead_letters(
            "StreamFailures", producer.failures,
            "The stream producer gave up records of the table's stream; the reconciler publishes these requests "
            "instead. Read both logs, correct the cause, then run 'assistance failures retry stream'.",
        ),
        *(_of_the_feedback(alarms, feedback) if feedback else ()),
    ]  # fmt: skip


def of_the_oldest(
    alarms: AlarmFactory, consumers: Mapping[Destination, ChannelConsumer], feedback: EmailFeedback | None
) -> Alarms:
    """Create for each dead-letter queue an alarm that goes off days before SQS deletes the queue's oldest message.

    The queue `StreamFailures` gets no alarm: its requests are in the table. The alarm counts for how many hours a queue
    has held messages. SQS's metric of the oldest message's age is unsuitable: it leaves out messages that were received
    three times, and every command that lists dead letters receives them. This metric also begins anew when SQS moves a
    message to the queue, while SQS deletes the message by the time at which somebody first sent it.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
    """
    queues: dict[str, sqs.Queue] = {}
    for channel, consumer in consumers.items():
        name = channel.capitalize()
        queues |= {f"{name}DeadLetters": consumer.dlq, f"{name}SubscriptionDeadLetters": consumer.subscription_dlq}
    if feedback:
        queues |= {
            "EmailFeedbackFailures": feedback.failures,
            "EmailFeedbackSubscriptionDeadLetters": feedback.subscription_dlq,
        }
    return [
        alarms.add(
            f"{name}Expire",
            # A reader makes messages invisible for a second or two, which hardly changes the average of an hour.
            queue.metric_approximate_number_of_messages_visible(
                period=Duration.hours(1), statistic=cloudwatch.Stats.AVERAGE
            ),
            0.5,
            f"This queue has held dead letters for {_HOURS_WAITED // 24} days: see the alarm {name}. SQS may delete "
            f"the oldest in {_NOTICE_DAYS} days. If it deletes all, this alarm ends although nobody has redriven them.",
            times=_HOURS_WAITED - _HOURS_MISSED, of=_HOURS_WAITED, section="Expire",
        )
        for name, queue in queues.items()
    ]  # fmt: skip


def _of_the_feedback(alarms: AlarmFactory, feedback: EmailFeedback) -> Alarms:
    return [
        alarms.add_for_dead_letters(
            "EmailFeedbackFailures", feedback.failures,
            "The function EmailFeedback could not process events from SES. Correct the cause, then run 'assistance "
            "failures retry email_feedback'.",
        ),
        alarms.add_for_dead_letters(
            "EmailFeedbackSubscriptionDeadLetters", feedback.subscription_dlq,
            "SNS could not pass events from SES to the function EmailFeedback. Correct the cause, then run 'assistance "
            "failures retry email_feedback'.",
            section="EmailFeedbackFailures",
        ),
    ]  # fmt: skip
