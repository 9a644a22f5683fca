"""The reconciler and its schedule."""

from aws_cdk import Duration
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.config import Config
from infra.python_function import PythonFunction
from infra.table import Table


class Reconciler(Construct):
    """Sweeps the outbox. Its timeout is shorter than the interval, and a lease in the table keeps two sweeps apart."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table, topic: sns.Topic) -> None:
        super().__init__(scope, construct_id)
        function = PythonFunction(
            self,
            "Function",
            folder="reconciler",
            config=config,
            timeout=Duration.seconds(50),
            environment={
                "TABLE_NAME": table.table_name,
                "TOPIC_ARN": topic.topic_arn,
                "GRACE_SECONDS": str(config.grace_seconds),
            },
        )
        table.grant(
            function,
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        )
        topic.grant_publish(function)
        scheduler.Schedule(
            self,
            "Schedule",
            schedule=scheduler.ScheduleExpression.rate(Duration.minutes(config.reconcile_interval_minutes)),
            # The next run does what this one could not.
            target=targets.LambdaInvoke(function, retry_attempts=0),
        )
