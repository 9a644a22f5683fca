"""The table: requests, their outbox entries, and the lease that keeps two sweeps apart.

The items are drawn in `schema.py` and, for deliveries, in `delivery.py`.
"""

import heapq
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from boto3.dynamodb.conditions import Key
from boto3.dynamodb.types import TypeDeserializer

from assistance.aws import AWS_ERRORS, error_code
from assistance.clock import Clock, epoch_ms, timestamp, utc_now
from assistance.errors import IdempotencyKeyReused, TableUnavailable
from assistance.models import AssistanceRequest, Delivery, OutboxEntry, RequestRecord, Status
from assistance.observability import logger
from assistance.routing import ROUTES, Channel
from assistance.schema import (
    CREATED_AT,
    DELIVERY_PREFIX,
    OUTBOX_INDEX,
    OUTBOX_SHARD,
    OUTBOX_SHARDS,
    PARTITION_KEY,
    REQUEST,
    SORT_KEY,
    TTL,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

Item: TypeAlias = Mapping[str, Any]

LEASE_KEY = {PARTITION_KEY: "LEASE#reconciler", SORT_KEY: "LEASE"}


def request_key(request_id: str) -> dict[str, str]:
    """The key of a request item."""
    return {PARTITION_KEY: request_id, SORT_KEY: REQUEST}


def delivery_key(request_id: str, channel: Channel) -> dict[str, str]:
    """The key of a delivery item."""
    return {PARTITION_KEY: request_id, SORT_KEY: f"{DELIVERY_PREFIX}{channel}"}


def expiry(created_at: str, retention: timedelta) -> int:
    """The `ttl` of everything about a request: when DynamoDB may forget it, in seconds since 1970."""
    return int((datetime.fromisoformat(created_at) + retention).timestamp())


def plain(item: Item) -> Item:
    """An item out of DynamoDB's own notation, in which stream records and failed conditions carry it."""
    deserializer = TypeDeserializer()
    return {name: deserializer.deserialize(value) for name, value in item.items()}


def request_of(item: Item) -> AssistanceRequest:
    """The request that a request item holds. Raises `KeyError` or `ValueError` if it holds none."""
    return AssistanceRequest(
        id=item[PARTITION_KEY], topic=item["topic"], description=item["description"], created_at=item[CREATED_AT]
    )


def outbox_entry_of(item: Item) -> OutboxEntry:
    """The outbox entry that an unpublished request item holds. Raises `KeyError` or `ValueError` if it holds none."""
    return OutboxEntry(request_of(item), tuple(Channel(name) for name in item["outbox_channels"]))


def delivery_of(item: Item) -> Delivery:
    """The delivery that a delivery item holds."""
    status = Status(item["status"])
    # A redriven attempt in progress does not take back what was said: only `delivered` overrides `failed`.
    if "failed_at" in item and status is not Status.DELIVERED:
        status = Status.FAILED
    return Delivery(
        channel=Channel(str(item[SORT_KEY]).removeprefix(DELIVERY_PREFIX)),
        status=status,
        attempts=int(item["attempts"]),
        last_error=item.get("last_error"),
        first_attempt_at=item.get("first_attempt_at"),
        last_attempt_at=item.get("last_attempt_at"),
        delivered_at=item.get("delivered_at"),
        failed_at=item.get("failed_at") if status is Status.FAILED else None,
    )


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted request, and whether this call merely repeated an earlier one."""

    request: AssistanceRequest
    replayed: bool


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests in the table. Every method raises `TableUnavailable` when DynamoDB can't answer."""

    table: "Table"
    clock: Clock = utc_now

    def accept(self, request: AssistanceRequest, *, payload_hash: str, retention: timedelta) -> Accepted:
        """Store a request and its outbox entry in one conditional write.

        Raises `IdempotencyKeyReused` when the id is taken by a request with another payload.
        """
        item: dict[str, Any] = {
            **request_key(request.id),
            "topic": request.topic,
            "description": request.description,
            CREATED_AT: request.created_at,
            "payload_hash": payload_hash,
            TTL: expiry(request.created_at, retention),
            OUTBOX_SHARD: zlib.crc32(request.id.encode()) % OUTBOX_SHARDS,
            "outbox_channels": list(ROUTES[request.topic].channels),
        }
        try:
            self.table.put_item(
                Item=item,
                ConditionExpression=f"attribute_not_exists({PARTITION_KEY})",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException as taken:
            earlier = plain(cast(Item, taken.response)["Item"])
            if earlier["payload_hash"] != payload_hash:
                raise IdempotencyKeyReused from taken
            return Accepted(request_of(earlier), replayed=True)
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        return Accepted(request, replayed=False)

    def get(self, request_id: str) -> RequestRecord | None:
        """A request and its deliveries, by one strongly consistent query."""
        try:
            items = self.table.query(KeyConditionExpression=Key(PARTITION_KEY).eq(request_id), ConsistentRead=True)[
                "Items"
            ]
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        request = next((item for item in items if item[SORT_KEY] == REQUEST), None)
        if request is None:
            return None
        deliveries = (item for item in items if str(item[SORT_KEY]).startswith(DELIVERY_PREFIX))
        return RequestRecord(
            request=request_of(request),
            published_at=request.get("published_at"),  # type: ignore[arg-type]
            deliveries=tuple(delivery_of(item) for item in deliveries),
        )

    def mark_published(self, entry: OutboxEntry) -> None:
        """Take an entry out of the outbox, unless it has re-entered for other channels in the meantime."""
        try:
            self.table.meta.client.update_item(
                TableName=self.table.name,
                Key=request_key(entry.request.id),
                UpdateExpression=f"SET published_at = :now REMOVE {OUTBOX_SHARD}, outbox_channels",
                ConditionExpression="outbox_channels = :channels",
                ExpressionAttributeValues={":now": timestamp(self.clock()), ":channels": list(entry.channels)},
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            logger.debug("already marked published", request_id=entry.request.id)
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error

    def unpublished(self, before: datetime) -> Iterator[str]:
        """Ids of the requests created before that time that are still in the outbox, oldest first, page by page."""
        shards = [self._shard(shard, timestamp(before)) for shard in range(OUTBOX_SHARDS)]
        return (request_id for _, request_id in heapq.merge(*shards))

    def _shard(self, shard: int, before: str) -> Iterator[tuple[str, str]]:
        start: dict[str, Any] = {}
        try:
            while True:
                page = self.table.query(
                    IndexName=OUTBOX_INDEX,
                    KeyConditionExpression=Key(OUTBOX_SHARD).eq(shard) & Key(CREATED_AT).lt(before),
                    **start,
                )
                yield from ((str(item[CREATED_AT]), str(item[PARTITION_KEY])) for item in page["Items"])
                if "LastEvaluatedKey" not in page:
                    return
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error

    def outbox_entries(self, request_ids: Sequence[str]) -> list[Item]:
        """The request items with these ids (at most 100) that are in the outbox right now.

        The index is only eventually consistent, so what it lists may have been published since.
        What DynamoDB leaves unprocessed is left out: the next sweep finds it.
        """
        try:
            answer = self.table.meta.client.batch_get_item(
                RequestItems={
                    self.table.name: {"Keys": [request_key(id_) for id_ in request_ids], "ConsistentRead": True}
                }
            )
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        return [item for item in answer["Responses"].get(self.table.name, []) if OUTBOX_SHARD in item]

    @contextmanager
    def lease(self, owner: str, duration: timedelta) -> Iterator[bool]:
        """Hold the sweep's lease, if nobody else does: yields whether it is ours. It lasts `duration` at most."""
        now = self.clock()
        try:
            self.table.put_item(
                Item={**LEASE_KEY, "owner": owner, "expires_at": epoch_ms(now + duration)},
                ConditionExpression=f"attribute_not_exists({PARTITION_KEY}) OR expires_at < :now",
                ExpressionAttributeValues={":now": epoch_ms(now)},
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            yield False
            return
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        try:
            yield True
        finally:
            self._release(owner)

    def _release(self, owner: str) -> None:
        try:
            self.table.delete_item(
                Key=LEASE_KEY,
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": owner},
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            logger.warning("the lease had already passed to another sweep")
        except AWS_ERRORS as error:
            # It ends by itself.
            logger.warning("the lease was not released", error_code=error_code(error))
