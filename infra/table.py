"""The DynamoDB table of the requests and their records."""

from typing import cast

from aws_cdk import CfnElement, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from assistance.store.schema import (
    CREATED_AT,
    DUE_AT,
    DUE_INDEX,
    DUE_SHARD,
    LEDGER_INDEX,
    LEDGER_SHARD,
    OUTBOX_INDEX,
    OUTBOX_SHARD,
    PARTITION_KEY,
    SORT_KEY,
    TOPIC,
    TTL,
)
from infra.config import Config


class Table(dynamodb.TableV2):
    """The table with on-demand capacity, the stream for the stream producer, and the indexes for the reconciler."""

    def __init__(self, scope: Construct, construct_id: str, config: Config) -> None:
        super().__init__(
            scope,
            construct_id,
            partition_key=dynamodb.Attribute(name=PARTITION_KEY, type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name=SORT_KEY, type=dynamodb.AttributeType.STRING),
            billing=dynamodb.Billing.on_demand(),
            dynamo_stream=dynamodb.StreamViewType.NEW_IMAGE,
            time_to_live_attribute=TTL,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=config.production,
            # Not config.removal_policy, with which a failed first deployment would try to delete the protected table.
            removal_policy=RemovalPolicy.RETAIN if config.production else RemovalPolicy.DESTROY,
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=OUTBOX_INDEX,
                    partition_key=dynamodb.Attribute(name=OUTBOX_SHARD, type=dynamodb.AttributeType.NUMBER),
                    sort_key=dynamodb.Attribute(name=CREATED_AT, type=dynamodb.AttributeType.STRING),
                    projection_type=dynamodb.ProjectionType.KEYS_ONLY,
                ),
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=LEDGER_INDEX,
                    partition_key=dynamodb.Attribute(name=LEDGER_SHARD, type=dynamodb.AttributeType.NUMBER),
                    sort_key=dynamodb.Attribute(name=CREATED_AT, type=dynamodb.AttributeType.STRING),
                    projection_type=dynamodb.ProjectionType.INCLUDE,
                    non_key_attributes=[TOPIC],
                ),
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=DUE_INDEX,
                    partition_key=dynamodb.Attribute(name=DUE_SHARD, type=dynamodb.AttributeType.NUMBER),
                    sort_key=dynamodb.Attribute(name=DUE_AT, type=dynamodb.AttributeType.NUMBER),
                    projection_type=dynamodb.ProjectionType.ALL,
                ),
            ],
        )
        # A fixed logical id, because CloudFormation would replace a table whose logical id changes by an empty one.
        cast("CfnElement", self.node.default_child).override_logical_id("Table")

    def grant_items(self, grantee: iam.IGrantable, *actions: str) -> None:
        """Allow these actions on the table, but not on its indexes, which the CDK's `grant` would include."""
        iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=[self.table_arn])

    def grant_index_queries(self, grantee: iam.IGrantable) -> None:
        """Allow the grantee to query the table's indexes."""
        arns = [f"{self.table_arn}/index/{name}" for name in (OUTBOX_INDEX, LEDGER_INDEX, DUE_INDEX)]
        iam.Grant.add_to_principal(grantee=grantee, actions=["dynamodb:Query"], resource_arns=arns)
