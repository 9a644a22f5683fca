"""The table's requests and their outbox entries."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from assistance import tracing
from assistance.aws import AWS_ERRORS, error_code
from assistance.clock import Clock, timestamp, utc_now
from assistance.deliveries import delivery_key, expiry, request_key
from assistance.errors import IdempotencyKeyReused, TableUnavailable, Unreadable
from assistance.items import Item, plain, record_of, request_of
from assistance.models import AssistanceRequest, OutboxEntry, RequestRecord
from assistance.observability import logger
from assistance.routing import Channel, routes
from assistance.schema import (
    CHANNELS,
    CREATED_AT,
    INDEX_SHARDS,
    LEDGER_SHARD,
    OUTBOX_INDEX,
    OUTBOX_SHARD,
    PARTITION_KEY,
    SORT_KEY,
    TOPIC,
    TRACE,
    TTL,
    shard,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


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

    def accept(
        self, request: AssistanceRequest, *, payload_hash: str, retention: timedelta, caller: str = ""
    ) -> Accepted:
        """Store a request and its outbox entry in one conditional write.

        `caller`, the id of the API key that may read it, stays in the table: no message carries it.
        Raises `IdempotencyKeyReused` when the id is taken by a request with another payload, or `Unreadable`.
        """
        channels = list(routes()[request.topic].channels)
        item: dict[str, Any] = {
            **request_key(request.id),
            TOPIC: request.topic,
            "description": request.description,
            CREATED_AT: request.created_at,
            "payload_hash": payload_hash,
            TTL: expiry(request.created_at, retention),
            CHANNELS: channels,
            "outbox_channels": channels,
            OUTBOX_SHARD: shard(request.id),
            LEDGER_SHARD: shard(request.id),
        }
        if request.callback_url is not None:
            item["callback_url"] = request.callback_url
        if caller:
            item["caller"] = caller
        if trace := tracing.current():
            item[TRACE] = trace
        try:
            self.table.put_item(
                Item=item,
                ConditionExpression=f"attribute_not_exists({PARTITION_KEY})",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException as taken:
            earlier = plain(cast(Item, taken.response)["Item"])
            if earlier.get("payload_hash") != payload_hash:
                raise IdempotencyKeyReused from taken
            return Accepted(request_of(earlier), replayed=True)
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        return Accepted(request, replayed=False)

    def get(self, request_id: str) -> RequestRecord | None:
        """A request and its deliveries, by one strongly consistent query. Raises `Unreadable`."""
        try:
            items = self.table.query(
                KeyConditionExpression=f"{PARTITION_KEY} = :id",
                ExpressionAttributeValues={":id": request_id},
                ConsistentRead=True,
            )["Items"]
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        try:
            return record_of(items)
        except Unreadable as error:
            raise Unreadable(f"{request_id}: {error}") from None

    def publish_again(self, request_id: str, channels: Sequence[Channel]) -> None:
        """Put a request whose messages are lost back into the outbox, for these channels, unless it is in there."""
        try:
            self.table.meta.client.update_item(
                TableName=self.table.name,
                Key=request_key(request_id),
                UpdateExpression=f"SET {OUTBOX_SHARD} = :shard, outbox_channels = :channels, outbox_since = :now",
                ConditionExpression=f"attribute_exists({PARTITION_KEY}) AND attribute_not_exists({OUTBOX_SHARD})",
                ExpressionAttributeValues={
                    ":shard": shard(request_id),
                    ":channels": list(channels),
                    ":now": timestamp(self.clock()),
                },
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            logger.debug("in the outbox already", request_id=request_id)
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error

    def mark_published(self, entry: OutboxEntry) -> None:
        """Take an entry out of the outbox, unless it has re-entered since, or for other channels."""
        key = delivery_key(entry.request.id, entry.ended) if entry.ended else request_key(entry.request.id)
        condition = "outbox_channels = :channels"
        values: dict[str, Any] = {":now": timestamp(self.clock()), ":channels": list(entry.channels)}
        if entry.since:
            condition += " AND outbox_since = :since"
            values[":since"] = entry.since
        try:
            self.table.meta.client.update_item(
                TableName=self.table.name,
                Key=key,
                UpdateExpression=f"SET published_at = :now REMOVE {OUTBOX_SHARD}, outbox_channels, outbox_since",
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            logger.debug("already marked published", request_id=entry.request.id)
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error

    def unpublished(self, before: datetime) -> Iterator[dict[str, str]]:
        """Keys of what is still in the outbox of the requests created before that time, oldest first, page by page."""
        overdue = self.listed(OUTBOX_INDEX, OUTBOX_SHARD, f"{CREATED_AT} < :before", {":before": timestamp(before)})
        return ({name: str(item[name]) for name in (PARTITION_KEY, SORT_KEY)} for item in overdue)

    def listed(self, index: str, partition_key: str, when: str, values: dict[str, str]) -> Iterator[Item]:
        """What an index lists, oldest first over all shards, page by page. Raises `TableUnavailable` on the way.

        `when` is a condition on the time of acceptance, in DynamoDB's expressions.
        """
        shards = [
            self._shard(index, f"{partition_key} = :shard AND {when}", {":shard": number, **values})
            for number in range(INDEX_SHARDS)
        ]
        return heapq.merge(*shards, key=lambda item: str(item[CREATED_AT]))

    def _shard(self, index: str, condition: str, values: dict[str, Any]) -> Iterator[Item]:
        start: dict[str, Any] = {}
        while True:
            try:
                page = self.table.query(
                    IndexName=index, KeyConditionExpression=condition, ExpressionAttributeValues=values, **start
                )
            except AWS_ERRORS as error:
                raise TableUnavailable(error_code(error)) from error
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def outbox_entries(self, keys: Sequence[dict[str, str]]) -> list[Item]:
        """The items with these keys (at most 100) that are in the outbox right now.

        The index is only eventually consistent, so what it lists may have been published since.
        What DynamoDB leaves unprocessed is left out: the next sweep finds it.
        """
        try:
            answer = self.table.meta.client.batch_get_item(
                RequestItems={self.table.name: {"Keys": list(keys), "ConsistentRead": True}}
            )
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        return [item for item in answer["Responses"].get(self.table.name, []) if OUTBOX_SHARD in item]
