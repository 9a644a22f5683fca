"""The naive design with which `warm.py` compares ours: similar functions, written with the defaults of Powertools.

The API validates with `enable_validation` and is idempotent with `DynamoDBPersistenceLayer`. The producer publishes
each record with one call, and marks it with one update. The consumer is idempotent with the same layer, and records a
delivery with one update.
"""

import json
import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.dynamodb.conditions import Key
from pydantic import BaseModel, StringConstraints

from assistance.store.schema import INDEX_SHARDS

logger = Logger()
metrics = Metrics()
app = APIGatewayRestResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])
sns = boto3.client("sns")
ses = boto3.client("sesv2")
calls = DynamoDBPersistenceLayer(table_name="idempotency")
deliveries = DynamoDBPersistenceLayer(table_name="idempotency")
stream_processor = BatchProcessor(event_type=EventType.DynamoDBStreams)
queue_processor = BatchProcessor(event_type=EventType.SQS)


class Call(BaseModel):
    """The body of a bot's call."""

    topic: Literal["sales", "pricing"]
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000)]


class Request(Call):
    """An accepted request."""

    id: str
    status: str = "accepted"
    created_at: str


@app.post("/assistance-requests")
def accept(call: Call) -> Response[Request]:
    """Store a request."""
    request = Request(id=str(uuid.uuid4()), created_at=datetime.now(UTC).isoformat(), **call.model_dump())
    table.put_item(Item={"pk": request.id, "sk": "REQUEST", **request.model_dump()})
    logger.info("accepted", request_id=request.id)
    metrics.add_metric("Accepted", MetricUnit.Count, 1)
    return Response(202, "application/json", request)


@app.get("/assistance-requests/<request_id>")
def show(request_id: str) -> dict[str, Any]:
    """Return a request and its deliveries."""
    items = table.query(KeyConditionExpression=Key("pk").eq(request_id), ConsistentRead=True)["Items"]
    request = next(item for item in items if item["sk"] == "REQUEST")
    deliveries = [item for item in items if item["sk"] != "REQUEST"]
    return {"id": request["pk"], "topic": request["topic"], "deliveries": deliveries}


@logger.inject_lambda_context
@metrics.log_metrics
@idempotent(
    persistence_store=calls,
    config=IdempotencyConfig(event_key_jmespath='[headers."Idempotency-Key", httpMethod, path, body]'),
)
def api(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Handle a call from API Gateway."""
    return app.resolve(event, context)


def publish(record: DynamoDBRecord) -> None:
    """Publish a record's request, and mark it as published."""
    image: dict[str, Any] = dict(record.dynamodb.new_image)  # type: ignore[union-attr]
    sns.publish(TopicArn=os.environ["TOPIC_ARN"], Message=json.dumps({"id": image["pk"], "topic": image["topic"]}))
    _mark(image["pk"], "published_at")
    metrics.add_metric("Published", MetricUnit.Count, 1)


def _mark(request_id: str, name: str) -> None:
    table.update_item(
        Key={"pk": request_id, "sk": "REQUEST"},
        UpdateExpression=f"SET {name} = :now",
        ExpressionAttributeValues={":now": datetime.now(UTC).isoformat()},
    )


@logger.inject_lambda_context
@metrics.log_metrics
def producer(event: dict[str, Any], context: LambdaContext) -> Any:  # noqa: ANN401
    """Handle records of the table's stream."""
    return process_partial_response(event, publish, stream_processor, context)


@idempotent_function(  # type: ignore[untyped-decorator]
    data_keyword_argument="request",
    persistence_store=deliveries,
    config=IdempotencyConfig(event_key_jmespath="id"),
)
def send(request: dict[str, Any]) -> str:
    """Send a request by email."""
    text = request["description"]
    answer = ses.send_email(
        FromEmailAddress=os.environ["EMAIL_SENDER"],
        Destination={"ToAddresses": json.loads(os.environ["EMAIL_RECIPIENTS"])},
        Content={"Simple": {"Subject": {"Data": request["topic"]}, "Body": {"Text": {"Data": text}}}},
    )
    return answer["MessageId"]


def deliver(record: SQSRecord) -> None:
    """Send a message's request by email, and record that it is delivered."""
    request = json.loads(record.body)["request"]
    send(request=request)
    _mark(request["id"], "delivered_at")
    metrics.add_metric("Delivered", MetricUnit.Count, 1)


@logger.inject_lambda_context
@metrics.log_metrics
def consumer(event: dict[str, Any], context: LambdaContext) -> Any:  # noqa: ANN401
    """Handle messages of the queue."""
    return process_partial_response(event, deliver, queue_processor, context)


@logger.inject_lambda_context
@metrics.log_metrics
def sweep(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001
    """Publish all requests that have been unpublished for a minute."""
    before = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    for shard in range(INDEX_SHARDS):
        condition = Key("outbox").eq(shard) & Key("created_at").lt(before)
        for key in table.query(IndexName="outbox", KeyConditionExpression=condition)["Items"]:
            item = table.get_item(Key={"pk": key["pk"], "sk": "REQUEST"}, ConsistentRead=True)["Item"]
            sns.publish(
                TopicArn=os.environ["TOPIC_ARN"], Message=json.dumps({"id": item["pk"], "topic": item["topic"]})
            )
            _mark(str(item["pk"]), "published_at")
