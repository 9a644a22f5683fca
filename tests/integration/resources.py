"""Creates the AWS resources of a new system in moto.

It calls moto's own functions, except for the table: a call through botocore takes a hundred times as long, and every
test starts with about 24 calls.
"""

import json
from functools import cache
from typing import Any, Final

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.utilities import dynamo_json_dump
from moto.secretsmanager.models import secretsmanager_backends
from moto.sesv2.models import sesv2_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

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
)

_REGION: Final = "us-east-1"
TABLE: Final[dict[str, Any]] = {
    "TableName": "table",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [
        {"AttributeName": PARTITION_KEY, "KeyType": "HASH"},
        {"AttributeName": SORT_KEY, "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": PARTITION_KEY, "AttributeType": "S"},
        {"AttributeName": SORT_KEY, "AttributeType": "S"},
        {"AttributeName": OUTBOX_SHARD, "AttributeType": "N"},
        {"AttributeName": LEDGER_SHARD, "AttributeType": "N"},
        {"AttributeName": DUE_SHARD, "AttributeType": "N"},
        {"AttributeName": DUE_AT, "AttributeType": "N"},
        {"AttributeName": CREATED_AT, "AttributeType": "S"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": OUTBOX_INDEX,
            "KeySchema": [
                {"AttributeName": OUTBOX_SHARD, "KeyType": "HASH"},
                {"AttributeName": CREATED_AT, "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
        {
            "IndexName": LEDGER_INDEX,
            "KeySchema": [
                {"AttributeName": LEDGER_SHARD, "KeyType": "HASH"},
                {"AttributeName": CREATED_AT, "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": [TOPIC]},
        },
        {
            "IndexName": DUE_INDEX,
            "KeySchema": [
                {"AttributeName": DUE_SHARD, "KeyType": "HASH"},
                {"AttributeName": DUE_AT, "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        },
    ],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
}
"""The table as `infra/` declares it."""


@cache
def _session() -> boto3.Session:
    """A shared session for the clients of the tests. Otherwise moto would create one for every test."""
    return boto3.Session()


@cache
def client(service: Any) -> Any:  # noqa: ANN401
    return _session().client(service)


@cache
def _dynamodb() -> Any:  # noqa: ANN401
    return _session().resource("dynamodb")


def create_table() -> Any:  # noqa: ANN401
    return _dynamodb().create_table(**TABLE)


def streamed(since: int) -> list[dict[str, Any]]:
    """The records of the table's stream except the first `since`."""
    shard = _of(dynamodb_backends).tables["table"].stream_shard
    return [json.loads(dynamo_json_dump(record.to_json())) for record in shard.items[since:]]


def create_topic(name: str) -> str:
    """Create a topic. Returns its ARN."""
    arn: str = _of(sns_backends).create_topic(name).arn
    return arn


def create_queue(name: str) -> str:
    """Create a queue. Returns its URL."""
    _of(sqs_backends).create_queue(name)
    return f"https://sqs.{_REGION}.amazonaws.com/{DEFAULT_ACCOUNT_ID}/{name}"


def subscribe(topic: str, queue: str, filter_policy: dict[str, list[str]]) -> None:
    """Subscribe the queue to the topic's messages that pass the filter."""
    backend = _of(sns_backends)
    subscription = backend.subscribe(topic, f"arn:aws:sqs:{_REGION}:{DEFAULT_ACCOUNT_ID}:{queue}", "sqs")
    for name, value in {"RawMessageDelivery": "true", "FilterPolicy": json.dumps(filter_policy)}.items():
        backend.set_subscription_attributes(subscription.arn, name, value)


def create_secret(name: str, value: str | None = None) -> str:
    """Create a secret. Returns its ARN."""
    backend = _of(secretsmanager_backends)
    backend.create_secret(
        name,
        secret_string=value,
        secret_binary=None,
        description="",
        tags=[],
        kms_key_id=None,
        client_request_token=None,
        replica_regions=[],
        force_overwrite=False,
    )
    arn: str = backend.secrets.get(name).arn
    return arn


def create_email_identity(address: str) -> None:
    """Create the SES identity of an address from which the functions send mails."""
    _of(sesv2_backends).create_email_identity(address, None, None, None)


def _of(backends: Any) -> Any:  # noqa: ANN401
    """The part of moto's backends for the account and region of the tests."""
    return backends[DEFAULT_ACCOUNT_ID][_REGION]
