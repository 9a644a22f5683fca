"""The stream producer: the function that publishes outbox entries from the table's stream to the SNS topic."""

from aws_cdk import CfnOutput, Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_sns as sns
from constructs import Construct

from assistance.store.schema import OUTBOX_SHARD
from infra.batches import PARALLELIZATION_FACTOR, STREAM
from infra.config import Config
from infra.dead_letters import DeadLetterQueue, FailedRecords
from infra.python_function import PythonFunction
from infra.table import Table


class StreamProducer(Construct):
    """The function and its event source, the table's stream.

    Outbox entries that the function fails to publish stay in the outbox, and the reconciler publishes them.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, topic: sns.Topic) -> None:
        super().__init__(scope, construct_id)
        self.failures = DeadLetterQueue(self, "Failures", config)
        self.function = function = PythonFunction(
            self,
            "Function",
            folder="stream_producer",
            config=config,
            timeout=Duration.seconds(60),
            environment={"TABLE_NAME": table.table_name, "TOPIC_ARN": topic.topic_arn},
        )
        table.grant_items(function, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        topic.grant_publish(function)
        function.add_event_source(
            event_sources.DynamoEventSource(
                table,
                starting_position=lambda_.StartingPosition.TRIM_HORIZON,
                batch_size=STREAM.size,
                max_batching_window=Duration.seconds(STREAM.window),
                parallelization_factor=PARALLELIZATION_FACTOR,
                filters=[
                    lambda_.FilterCriteria.filter(
                        {"dynamodb": {"NewImage": {OUTBOX_SHARD: {"N": lambda_.FilterRule.exists()}}}}
                    )
                ],
                bisect_batch_on_error=True,
                retry_attempts=3,
                max_record_age=Duration.hours(1),
                report_batch_item_failures=True,
                on_failure=FailedRecords(self.failures),
            )
        )
        CfnOutput(self, "QueueUrl", value=self.failures.queue_url).override_logical_id("StreamFailuresQueueUrl")
