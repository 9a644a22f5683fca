"""The resources of each channel and of the callback: subscription, queue, dead-letter queues, consumer."""

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from assistance.routing import Destination
from infra.batches import QUEUES, visibility_timeout
from infra.config import QUEUE_RETENTION_DAYS, Config
from infra.dead_letters import SSE_SQS, DeadLetterQueue
from infra.interactive_function import may_read
from infra.linter_exceptions import skip_checkov
from infra.python_function import PythonFunction
from infra.retries import MAX_RECEIVES
from infra.table import Table


class ChannelConsumer(Construct):
    """The resources of one channel, from the SNS topic to the consumer. `environment`: its consumer's own variables."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        channel: Destination,
        config: Config,
        table: Table,
        topic: sns.Topic,
        environment: dict[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self._removal_policy = config.removal_policy
        retry, batches = config.retry(channel), QUEUES[channel]
        self.dlq = DeadLetterQueue(self, "Dlq", config)
        self.subscription_dlq = DeadLetterQueue(self, "SubscriptionDlq", config)
        self.queue = sqs.Queue(
            self,
            "Queue",
            retention_period=Duration.days(QUEUE_RETENTION_DAYS),
            visibility_timeout=Duration.seconds(visibility_timeout(config.consumer_timeout_seconds, batches)),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            removal_policy=config.removal_policy,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dlq, max_receive_count=MAX_RECEIVES),
        )
        skip_checkov(self.queue, "CKV_AWS_27", SSE_SQS)
        self.subscription = topic.add_subscription(
            subscriptions.SqsSubscription(
                self.queue,
                raw_message_delivery=True,
                dead_letter_queue=self.subscription_dlq,
                filter_policy={"channels": sns.SubscriptionFilter.string_filter(allowlist=[channel])},
            )
        )
        self.function = PythonFunction(
            self,
            "Function",
            folder=f"{channel}_consumer",
            config=config,
            timeout=Duration.seconds(config.consumer_timeout_seconds),
            environment={
                "TABLE_NAME": table.table_name,
                "QUEUE_URL": self.queue.queue_url,
                "DLQ_URL": self.dlq.queue_url,
                "ROUTES": config.routes_variable,
                "RETRY_ATTEMPTS": str(retry.attempts),
                "RETRY_FIRST_DELAY": str(retry.first_delay),
                "RETRY_MAX_DELAY": str(retry.max_delay),
                "RETRY_DOUBT_DELAY": str(retry.doubt_delay),
                **environment,
            },
        )
        table.grant_items(self.function, "dynamodb:PutItem", "dynamodb:Query")
        # An upgrade changes the permissions before the code. Until then, version 1 records deliveries with UpdateItem.
        table.grant_items(self.function, "dynamodb:UpdateItem")
        self.dlq.grant(self.function, "sqs:SendMessage")
        # Three actions that Lambda needs to read the queue, and one to delay a retry. SqsEventSource would grant more.
        # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions
        self.queue.grant(self.function, "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
        self.queue.grant(self.function, "sqs:ChangeMessageVisibility")
        self.function.add_event_source_mapping(
            "Source",
            event_source_arn=self.queue.queue_arn,
            batch_size=batches.size,
            max_batching_window=Duration.seconds(batches.window),
            report_batch_item_failures=True,
            max_concurrency=config.consumer_max_concurrency,
        )
        name = channel.capitalize()
        CfnOutput(self, "QueueUrl", value=self.queue.queue_url).override_logical_id(f"{name}QueueUrl")
        CfnOutput(self, "DlqUrl", value=self.dlq.queue_url).override_logical_id(f"{name}DlqUrl")
        CfnOutput(self, "SubscriptionDlqUrl", value=self.subscription_dlq.queue_url).override_logical_id(
            f"{name}SubscriptionDlqUrl"
        )

    def read(self, secret: secretsmanager.CfnSecret, *, output: str) -> None:
        """Let the consumer's function read a secret. Adds the stack output named `output`, with the secret's ARN."""
        secret.apply_removal_policy(self._removal_policy)
        skip_checkov(secret, "CKV_AWS_149", "It is encrypted with AWS's managed key, which no other account can use.")
        may_read(self.function, secret)
        CfnOutput(self, output, value=secret.attr_id).override_logical_id(output)
