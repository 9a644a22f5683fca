"""Alarms on dead letters: those that wait, and those that SQS deletes soon."""

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

# Page this long before the first dead letter can expire: a long weekend.
_NOTICE_DAYS: Final = 3
_HOURS_WAITED: Final = 24 * (RETENTION_DAYS - QUEUE_RETENTION_DAYS - _NOTICE_DAYS)
# CloudWatch or SQS may miss some of these hours: it does not begin anew for that.
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
        given_up = f"Requests could not be delivered by {channel}. {look} Mend the cause, then redrive."
        unreached = f"SNS could not write to {channel}'s queue. {look} Mend it, then redrive."
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
            "The producer failed on stream records for good; the reconciler publishes them. Read both logs, mend the "
            "cause, then run 'assistance failures retry stream'.",
        ),
        *(_of_the_feedback(alarms, feedback) if feedback else ()),
    ]  # fmt: skip


def of_the_oldest(
    alarms: AlarmFactory, consumers: Mapping[Destination, ChannelConsumer], feedback: EmailFeedback | None
) -> Alarms:
    """An alarm for each queue whose dead letters exist nowhere else. The table has those of `StreamFailures`.

    SQS's metric of ages won't do. It leaves out messages that were received three times, and each reader of dead
    letters receives them. It counts from the time SQS moved a message, but a message expires by when it was sent.
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
            # A reader hides them for a second or two, which the average of an hour does not show.
            queue.metric_approximate_number_of_messages_visible(
                period=Duration.hours(1), statistic=cloudwatch.Stats.AVERAGE
            ),
            0.5,
            f"This queue has held dead letters for {_HOURS_WAITED // 24} days: see {name}. SQS may delete the "
            f"oldest in {_NOTICE_DAYS} days, and then the alarm ends although nobody has redriven them.",
            times=_HOURS_WAITED - _HOURS_MISSED, of=_HOURS_WAITED, section="Expire",
        )
        for name, queue in queues.items()
    ]  # fmt: skip


def _of_the_feedback(alarms: AlarmFactory, feedback: EmailFeedback) -> Alarms:
    return [
        alarms.add_for_dead_letters(
            "EmailFeedbackFailures", feedback.failures,
            "EmailFeedback failed on an event from SES. Mend the cause, then run "
            "'assistance failures retry email_feedback'.",
        ),
        alarms.add_for_dead_letters(
            "EmailFeedbackSubscriptionDeadLetters", feedback.subscription_dlq,
            "SNS could not hand an event from SES to Lambda. Mend the cause, then run "
            "'assistance failures retry email_feedback'.",
            section="EmailFeedbackFailures",
        ),
    ]  # fmt: skip
