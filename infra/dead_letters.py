"""Dead-letter queues with this project's defaults: for queues, event sources and asynchronous invocations."""

import jsii
from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Config
from infra.linter_exceptions import accept, skip_checkov

RETENTION_DAYS = 14
SSE_SQS = "SQS encrypts it with a key of its own, at no charge; checkov expects a KMS key."


class DeadLetterQueue(sqs.Queue):
    """Keeps messages for 14 days, the longest time that SQS allows, and longer than the queue that they come from.

    The 14 days begin when a message was first sent, not when SQS moved it to this queue:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    """

    def __init__(self, scope: Construct, construct_id: str, config: Config) -> None:
        super().__init__(
            scope,
            construct_id,
            retention_period=Duration.days(RETENTION_DAYS),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            removal_policy=config.removal_policy,
        )
        accept(self, "AwsSolutions-SQS3", "This is a dead-letter queue itself, also if SNS or Lambda fills it.")
        skip_checkov(self, "CKV_AWS_27", SSE_SQS)


# Lambda sends failed records and events with the function's role, which needs only sqs:SendMessage. The CDK's own
# SqsDlq and SqsDestination would grant more:
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html


@jsii.implements(lambda_.IEventSourceDlq)
class FailedRecords:
    """A dead-letter queue for records that an event source mapping could not pass to a function."""

    def __init__(self, queue: DeadLetterQueue) -> None:
        self._queue = queue

    def bind(self, _target: lambda_.IEventSourceMapping, handler: lambda_.IFunction) -> lambda_.DlqDestinationConfig:
        """Let the function's role send to the queue, and return the queue in the form that the CDK expects."""
        self._queue.grant(handler, "sqs:SendMessage")
        return lambda_.DlqDestinationConfig(destination=self._queue.queue_arn)


@jsii.implements(lambda_.IDestination)
class FailedEvents:
    """A dead-letter queue for events of asynchronous invocations that a function could not process."""

    def __init__(self, queue: DeadLetterQueue) -> None:
        self._queue = queue

    def bind(
        self,
        scope: Construct,  # noqa: ARG002
        fn: lambda_.IFunction,
        *_: object,
        **__: object,
    ) -> lambda_.DestinationConfig:
        """Let the function's role send to the queue, and return the queue in the form that the CDK expects."""
        self._queue.grant(fn, "sqs:SendMessage")
        return lambda_.DestinationConfig(destination=self._queue.queue_arn)
