"""A simple, common design on the same AWS services, to compare costs. It is never deployed.

Powertools stores its idempotency records in a separate table. The status is an attribute, with an index that contains
whole items, for the reconciler. Records are published and marked one by one. The token is read before each send.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from math import ceil
from typing import Any, Final

import boto3
import time_machine
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
    idempotent_function,
)
from moto import mock_aws

from assistance.platform.observability import logger
from assistance.routing import ROUTES, Channel, Topic
from tests.happy_path import DESCRIPTION, MOMENT
from tests.integration.cloud import Context, http_event
from tests.meter import Spent, as_only_metered, metered

QUEUE_BATCH: Final = 10
"""Maximum messages in a consumer's batch, as by Lambda's default."""
_CONTEXT: Final[Any] = Context()
_STATUS_INDEX: Final[Any] = {
    "IndexName": "status",
    "KeySchema": [
        {"AttributeName": "status", "KeyType": "HASH"},
        {"AttributeName": "created_at", "KeyType": "RANGE"},
    ],
    "Projection": {"ProjectionType": "ALL"},
}


class Naive:
    """The resources and handlers of the comparison design."""

    def __init__(self) -> None:
        create = boto3.client("dynamodb").create_table
        create(
            TableName="idempotency",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        create(
            TableName="requests",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": it, "AttributeType": "S"} for it in ("id", "status", "created_at")],
            GlobalSecondaryIndexes=[_STATUS_INDEX],
        )
        self.table = boto3.resource("dynamodb").Table("requests")
        self.sns, self.ses, self.secrets = boto3.client("sns"), boto3.client("sesv2"), boto3.client("secretsmanager")
        self.topic = self.sns.create_topic(Name="topic")["TopicArn"]
        self.secret = self.secrets.create_secret(Name="slack", SecretString="xoxb")["ARN"]
        self.ses.create_email_identity(EmailIdentity="bot@example.com")
        self.api = self._api()
        self._once = idempotent_function(
            self._process,
            data_keyword_argument="request",
            persistence_store=DynamoDBPersistenceLayer(table_name="idempotency"),
            config=IdempotencyConfig(event_key_jmespath="id", lambda_context=_CONTEXT),
        )

    def _api(self) -> Callable[[Any, Any], Any]:
        @idempotent(
            persistence_store=DynamoDBPersistenceLayer(table_name="idempotency"),
            config=IdempotencyConfig(event_key_jmespath='headers."Idempotency-Key"'),
        )
        def accept(event: Any, context: Any) -> Any:  # noqa: ANN401
            call = json.loads(event["body"])
            request_id = event["headers"]["Idempotency-Key"]
            item = {"id": request_id, **call, "status": "accepted", "created_at": MOMENT.isoformat()}
            self.table.put_item(Item=item)
            logger.info("accepted", request_id=request_id, topic=call["topic"])
            return {"statusCode": 202, "body": json.dumps(item)}

        return logger.inject_lambda_context(accept)

    def publish(self, event: Any) -> None:  # noqa: ANN401
        for item in event:
            attributes: Any = {"topic": {"DataType": "String", "StringValue": item["topic"]}}
            self.sns.publish(TopicArn=self.topic, Message=json.dumps(item), MessageAttributes=attributes)
            self.update(item["id"], "published")
            logger.info("published", request_id=item["id"])

    def deliver(self, event: Any) -> None:  # noqa: ANN401
        for item in event:
            self._once(request=item)

    def _process(self, request: Any) -> str:  # noqa: ANN401
        if request["topic"] == Topic.SALES:
            # A post to Slack is not an AWS call.
            self.secrets.get_secret_value(SecretId=self.secret)
        else:
            body: Any = {"Simple": {"Subject": {"Data": "help"}, "Body": {"Text": {"Data": request["description"]}}}}
            to: Any = {"ToAddresses": ["sales@example.com"]}
            self.ses.send_email(FromEmailAddress="bot@example.com", Destination=to, Content=body)
        self.update(request["id"], "delivered")
        logger.info("delivered", request_id=request["id"])
        return "sent"

    def update(self, request_id: str, status: str) -> None:
        self.table.update_item(
            Key={"id": request_id},
            UpdateExpression="SET #status = :status, updated_at = :now",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":status": status, ":now": MOMENT.isoformat()},
        )


@cache
def spent(topic: Topic, together: int) -> Mapping[str, Spent]:
    """The usage of each function of the comparison design for `together` requests."""
    (channel,) = ROUTES[topic].channels
    with mock_aws(), time_machine.travel(MOMENT, tick=False):
        naive = Naive()
        with metered() as found:
            for number in range(together):
                key = f"00000000-0000-7000-8000-{number:012}"
                body = json.dumps({"topic": topic, "description": DESCRIPTION})
                with as_only_metered("api"):
                    naive.api(http_event("POST", "/assistance-requests", body, Idempotency_Key=key), _CONTEXT)
            items = sorted(naive.table.scan()["Items"], key=lambda item: str(item["id"]))
            with as_only_metered("stream_producer"):
                naive.publish(items)
            for start in range(0, together, QUEUE_BATCH):
                with as_only_metered(f"{channel}_consumer"):
                    naive.deliver(items[start : start + QUEUE_BATCH])
        assert {item["status"] for item in naive.table.scan()["Items"]} == {"delivered"}
    found = defaultdict(Spent, found)
    found["api"].invocations = together
    found["stream_producer"].invocations = 1
    found[f"{channel}_consumer"].invocations = ceil(together / QUEUE_BATCH)
    if channel is Channel.SLACK:
        found["slack_consumer"].calls["slack.chat.postMessage"] = together
    return found
