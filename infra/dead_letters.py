"""The queue behind everything that can give up."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Config
from infra.review import accept, skip_checkov

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
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            removal_policy=config.removal_policy,
        )
        accept(self, "AwsSolutions-SQS3", "This is a dead-letter queue, also where SNS or Lambda fills it.")
        skip_checkov(self, "CKV_AWS_27", SSE_SQS)
