"""A dead-letter queue with our defaults."""

import jsii
from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Config
from infra.review import accept, skip_checkov

RETENTION_DAYS = 14
SSE_SQS = "SQS encrypts it with its own key, which costs nothing; checkov looks for a key of KMS."


class DeadLetterQueue(sqs.Queue):
    """Keeps what was given up on as long as SQS can, 14 days: longer than the queue that it came from.

    SQS counts from when a message was first sent, not from when it was moved here:
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
        accept(self, "AwsSolutions-SQS3", "This is a dead-letter queue, also where SNS or Lambda fills it.")
        skip_checkov(self, "CKV_AWS_27", SSE_SQS)


# Lambda sends there with the function's role, which takes sqs:SendMessage and nothing else. The CDK's own SqsDlq and
# SqsDestination would grant more: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html


@jsii.implements(lambda_.IEventSourceDlq)
class FailedRecords:
    """A dead-letter queue for what an event source gives up on."""

    def __init__(self, queue: DeadLetterQueue) -> None:
        self._queue = queue

    def bind(self, _target: lambda_.IEventSourceMapping, handler: lambda_.IFunction) -> lambda_.DlqDestinationConfig:
        """Let the function's role send there."""
        self._queue.grant(handler, "sqs:SendMessage")
        return lambda_.DlqDestinationConfig(destination=self._queue.queue_arn)


@jsii.implements(lambda_.IDestination)
class FailedEvents:
    """A dead-letter queue for the events that a function has failed on."""

    def __init__(self, queue: DeadLetterQueue) -> None:
        self._queue = queue

    def bind(
        self,
        scope: Construct,  # noqa: ARG002
        fn: lambda_.IFunction,
        *_: object,
        **__: object,
    ) -> lambda_.DestinationConfig:
        """Let the function's role send there."""
        self._queue.grant(fn, "sqs:SendMessage")
        return lambda_.DestinationConfig(destination=self._queue.queue_arn)
