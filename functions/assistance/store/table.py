"""The reads and writes of the table."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from botocore.exceptions import ClientError

from assistance.errors import TableUnavailable, Unreadable
from assistance.platform.aws import AWS_ERRORS, Table, error_code
from assistance.store import schema
from assistance.store.items import Item, plain
from assistance.store.schema import Due

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
BATCH: Final = 100
LEDGER_KEY: Final = {schema.PARTITION_KEY: schema.LEDGER, schema.SORT_KEY: schema.LEDGER}
PROGRESS_KEY: Final = {schema.PARTITION_KEY: schema.PROGRESS, schema.SORT_KEY: schema.PROGRESS}


@dataclass(frozen=True, slots=True)
class Items:
    """Reads and writes the application's only table. Each method raises `TableUnavailable` if DynamoDB can't answer."""

    table: Table

    def add(self, item: Item, *, expired_at: int = 0) -> Item | None:
        """Put an item if its key is free, or taken by an item that expired before `expired_at` (seconds since 1970).

        Returns None if the item was put, else the item that has the key. Raises `Unreadable`.
        """
        free = f"attribute_not_exists({schema.PARTITION_KEY}) OR #name < :value"
        return self._put(item, free, schema.TTL, expired_at)

    def replace(self, item: Item, version: int) -> Item | None:
        """Replace the key's item if it has this version. Returns None if so, else the present item, or {} if none."""
        return self._put(item, "#name = :value", schema.VERSION, version)

    def put(self, item: Item) -> None:
        """Put an item, even if another one has its key."""
        with _unavailable_on_aws_errors():
            self.table.put_item(Item=item)

    def _put(self, item: Item, condition: str, name: str, value: int) -> Item | None:
        with _unavailable_on_aws_errors():
            try:
                self.table.put_item(
                    Item=item,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#name": name},
                    ExpressionAttributeValues={":value": value},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except self.table.meta.client.exceptions.ConditionalCheckFailedException as refused:
                return plain(cast("Item", refused.response).get("Item", {}))
            except ClientError as error:
                # An item has 400 KB at most. Nothing else in our call can be invalid:
                # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
                if error_code(error) == "ValidationException":
                    raise Unreadable("too large for DynamoDB") from error
                raise
        return None

    def of(self, request_id: str) -> list[Item]:
        """All items of a request, by one strongly consistent query."""
        condition, values = f"{schema.PARTITION_KEY} = :value", {":value": request_id}
        with _unavailable_on_aws_errors():
            answer = self.table.query(
                KeyConditionExpression=condition, ExpressionAttributeValues=values, ConsistentRead=True
            )
        return list(answer["Items"])

    def get(self, key: dict[str, str]) -> Item | None:
        """The item with this key, by a strongly consistent read; None if there is none."""
        with _unavailable_on_aws_errors():
            return self.table.get_item(Key=key, ConsistentRead=True).get("Item")

    def many(self, keys: Sequence[dict[str, str]], *, consistent: bool, whole: bool = False) -> list[Item]:
        """The items with these keys. DynamoDB may leave some out; with `whole`, that raises `TableUnavailable`."""
        found: list[Item] = []
        # DynamoDB refuses a batch in which a key comes twice.
        keys = list({tuple(key.items()): key for key in keys}.values())
        for start in range(0, len(keys), BATCH):
            wanted: Any = {"Keys": keys[start : start + BATCH], "ConsistentRead": consistent}
            with _unavailable_on_aws_errors():
                answer = self.table.meta.client.batch_get_item(RequestItems={self.table.name: wanted})
            found += answer["Responses"].get(self.table.name, [])
            if whole and answer.get("UnprocessedKeys"):
                raise TableUnavailable("unprocessed")
        return found

    def mark_published(self, key: Mapping[str, str], channels: Sequence[str], now: str) -> None:
        """If the item is in the outbox for these channels, take it out; note `now` unless it was published before."""
        self._update(
            Key=key,
            UpdateExpression=f"SET {schema.PUBLISHED_AT} = if_not_exists({schema.PUBLISHED_AT}, :now) "
            f"REMOVE {schema.OUTBOX_SHARD}, outbox_channels, outbox_since",
            ConditionExpression="outbox_channels = :channels",
            ExpressionAttributeValues={":now": now, ":channels": list(channels)},
        )

    def erase(self, key: dict[str, str], created_at: str, said: Sequence[str], instead: str) -> None:
        """If the request was created at that time, remove the attributes `said`, and set `description` to `instead`."""
        names = {f"#{number}": name for number, name in enumerate(said)}
        self._update(
            Key=key,
            UpdateExpression=f"SET description = :instead REMOVE {', '.join(names)}",
            ConditionExpression=f"{schema.CREATED_AT} = :created_at",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={":instead": instead, ":created_at": created_at},
        )

    def _update(self, **call: Any) -> None:  # noqa: ANN401
        """Call `update_item` with these arguments. If their condition fails, nothing is changed or raised."""
        with _unavailable_on_aws_errors(), suppress(self.table.meta.client.exceptions.ConditionalCheckFailedException):
            self.table.update_item(**call)

    def unpublished(self, before: str) -> Iterator[Item]:
        """Yield the keys of outbox items whose requests were created before that time, oldest first."""
        condition = f"{schema.OUTBOX_SHARD} = :shard AND {schema.CREATED_AT} < :before"
        return self._listed(schema.OUTBOX_INDEX, condition, {":before": before})

    def accepted(
        self, since: str, until: str, *, newest_first: bool = False, page: int | None = BATCH
    ) -> Iterator[Item]:
        """Yield the keys, times and topics of the requests created from `since` until `until`, oldest first or last.

        `page`: with `newest_first`, how many items one query reads. Readers of the newest requests seldom want all of
        them, so a page is small; None lets DynamoDB choose.
        """
        if since > until:
            # DynamoDB refuses such a BETWEEN with a ValidationException.
            return iter(())
        condition = f"{schema.LEDGER_SHARD} = :shard AND {schema.CREATED_AT} BETWEEN :since AND :until"
        values = {":since": since, ":until": until}
        order: dict[str, Any] = {"ScanIndexForward": False} if newest_first else {}
        order |= {"Limit": page} if newest_first and page else {}
        return self._listed(schema.LEDGER_INDEX, condition, values, **order)

    def due(self, waits_for: Due, until: int | None = None) -> Iterator[Item]:
        """Yield the records of watched requests that wait for that, from an index that may be outdated.

        The requests that must be checked first come first. `until`: only those due by then (milliseconds since 1970).
        """
        condition, values = f"{schema.DUE_SHARD} = :shard", dict[str, int]()
        if until is not None:
            condition, values = f"{condition} AND {schema.DUE_AT} <= :until", {":until": until}
        numbers = schema.due_shards(waits_for)
        shards = [self._shard(schema.DUE_INDEX, condition, {":shard": number, **values}) for number in numbers]
        return heapq.merge(*shards, key=lambda item: int(item[schema.DUE_AT]))

    def _listed(self, index: str, condition: str, values: dict[str, str], **order: Any) -> Iterator[Item]:  # noqa: ANN401
        """Yield the items of all shards of an index in the order of their times. `order`: as for `_shard`."""
        newest_first = not order.get("ScanIndexForward", True)
        numbers = range(schema.INDEX_SHARDS)
        shards = [self._shard(index, condition, {":shard": number, **values}, **order) for number in numbers]
        return heapq.merge(*shards, key=lambda item: str(item[schema.CREATED_AT]), reverse=newest_first)

    def _shard(self, index: str, condition: str, values: dict[str, Any], **order: Any) -> Iterator[Item]:  # noqa: ANN401
        """Yield an index's items that meet the condition with these values. `order`: further arguments of the query."""
        while True:
            with _unavailable_on_aws_errors():
                page = self.table.query(
                    IndexName=index, KeyConditionExpression=condition, ExpressionAttributeValues=values, **order
                )
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            order["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def store_progress_for_version_1(self, looked_until: str, until: str) -> None:
        """Write an item for version 1, which after a rollback then checks only requests accepted from `until` on.

        `looked_until`: up to when this version has checked new requests.
        """
        self._update(
            Key=LEDGER_KEY,
            UpdateExpression="SET looked_until = :until, #until = :legacy, #open = :none",
            ExpressionAttributeNames={"#until": "until", "#open": "open"},
            ExpressionAttributeValues={":until": looked_until, ":legacy": until, ":none": {}},
        )


@contextmanager
def _unavailable_on_aws_errors() -> Iterator[None]:
    try:
        yield
    except AWS_ERRORS as error:
        raise TableUnavailable(error_code(error)) from error
