"""A DynamoDB table in memory that answers the calls of `store/table.py`.

The table knows the expressions in that file by their text, and raises an error on any other. The tests in
`integration/test_table_contract.py` compare it with moto.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from threading import Lock
from types import SimpleNamespace
from typing import Any, Final, TypeAlias
from unittest.mock import patch

from boto3.dynamodb.types import TypeSerializer
from botocore import xform_name
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from assistance.platform import dynamodb
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
    PUBLISHED_AT,
    SORT_KEY,
    TOPIC,
    TTL,
    VERSION,
)
from tests.memory_queues import refuse
from tests.meter import size
from tests.recorded_calls import note

Item: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str]
Values: TypeAlias = Mapping[str, Any]

_SERIALIZER: Final = TypeSerializer()
INDEXES: Final[Mapping[str, tuple[str, str, tuple[str, ...] | None]]] = {
    OUTBOX_INDEX: (OUTBOX_SHARD, CREATED_AT, ()),
    LEDGER_INDEX: (LEDGER_SHARD, CREATED_AT, (TOPIC,)),
    DUE_INDEX: (DUE_SHARD, DUE_AT, None),
}
"""The two keys of each index, and the attributes that it projects besides: None means all attributes."""


MOST_BYTES: Final = 400 * 1024
"""Maximum size of an item: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html."""


class ConditionalCheckFailedException(ClientError):
    """The client's exception. It contains the existing item, in DynamoDB's notation."""


def _is(item: Item, name: str, value: Any) -> bool:  # noqa: ANN401
    return name in item and bool(item[name] == value)


CONDITIONS: Final[Mapping[str, Callable[[Item, Values], bool]]] = {
    f"{CREATED_AT} = :created_at": lambda item, values: _is(item, CREATED_AT, values[":created_at"]),
    f"attribute_not_exists({PARTITION_KEY}) OR {TTL} < :value": lambda item, values: (
        not item or (isinstance(item.get(TTL), Decimal) and item[TTL] < values[":value"])
    ),
    f"{VERSION} = :value": lambda item, values: _is(item, VERSION, values[":value"]),
    "outbox_channels = :channels": lambda item, values: _is(item, "outbox_channels", values[":channels"]),
}
"""For each condition expression, whether it allows a write. `item` is the existing item, {} if there is none."""

UPDATES: Final[Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]]] = {
    "SET description = :instead REMOVE customer, conversation_url, reference, details, payload_hash": (
        {"description": ":instead"},
        ("customer", "conversation_url", "reference", "details", "payload_hash"),
    ),
    f"SET {PUBLISHED_AT} = if_not_exists({PUBLISHED_AT}, :now) REMOVE {OUTBOX_SHARD}, outbox_channels, outbox_since": (
        {PUBLISHED_AT: ":now"},
        (OUTBOX_SHARD, "outbox_channels", "outbox_since"),
    ),
    "SET looked_until = :until, until = :legacy, open = :none": (
        {"looked_until": ":until", "until": ":legacy", "open": ":none"},
        (),
    ),
    "REMOVE description": ({}, ("description",)),
}
"""For each update expression, the attributes that it sets and removes."""

QUERIES: Final[Mapping[str, tuple[str, Callable[[Any, Values], bool]]]] = {
    f"{PARTITION_KEY} = :value": (":value", lambda _, __: True),
    f"{OUTBOX_SHARD} = :shard AND {CREATED_AT} < :before": (":shard", lambda at, values: at < values[":before"]),
    f"{LEDGER_SHARD} = :shard AND {CREATED_AT} BETWEEN :since AND :until": (
        ":shard",
        lambda at, values: values[":since"] <= at <= values[":until"],
    ),
    f"{DUE_SHARD} = :shard": (":shard", lambda _, __: True),
    f"{DUE_SHARD} = :shard AND {DUE_AT} <= :until": (":shard", lambda at, values: at <= values[":until"]),
}
"""For each query expression, the placeholder of the partition key, and whether a sort key matches."""


class MemoryTable:
    """A table. Each method takes the arguments of a DynamoDB call, and returns the response."""

    def __init__(self, name: str = "table", *, page: int = 5_000) -> None:
        """`page`: the maximum number of items in a query's response."""
        self.name = name
        self._stream: list[tuple[str, Item]] = []
        self._items: dict[str, dict[str, Item]] = {}
        self._page = page

    def clear(self) -> None:
        """Delete all items and stream records."""
        self._items.clear()
        self._stream.clear()

    def items(self) -> Iterator[Item]:
        """Every item. Callers must not change them."""
        for partition in self._items.values():
            yield from partition.values()

    def hold(self, item: Item) -> None:
        """Store an item, even one that none of our functions could write."""
        self._write(_key(item), {name: dynamodb.plain(value) for name, value in _image(item).items()})

    @property
    def writes(self) -> int:
        """How many stream records there are: one for each write that changed an item."""
        return len(self._stream)

    def streamed(self, since: int) -> list[dict[str, Any]]:
        """The stream records except the first `since`."""
        return [
            {"eventName": event, "dynamodb": {"SequenceNumber": f"{number:021d}", "NewImage": _image(item)}}
            for number, (event, item) in enumerate(self._stream[since:], since + 1)
        ]

    def put_item(self, call: Values) -> dict[str, Any]:
        """PutItem, as in https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html."""
        key, item = _key(call["Item"]), _stored(call["Item"])
        if size(item) > MOST_BYTES:
            answer: Any = {"Error": {"Code": "ValidationException", "Message": "Item size has exceeded the maximum"}}
            raise ClientError(answer, "PutItem")
        self._check(key, "PutItem", call)
        self._write(key, item)
        return {}

    def update_item(self, call: Values) -> dict[str, Any]:
        """UpdateItem, as in https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html."""
        key = _key(call["Key"])
        values = self._check(key, "UpdateItem", call)
        sets, removes = UPDATES[_named(call["UpdateExpression"], call)]
        kept = {name: value for name, value in {**call["Key"], **self._item(key)}.items() if name not in removes}
        first = kept if "if_not_exists" in call["UpdateExpression"] else {}
        self._write(key, {**kept, **{name: first.get(name, values[value]) for name, value in sets.items()}})
        return {}

    def delete_item(self, call: Values) -> dict[str, Any]:
        """DeleteItem, as in https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DeleteItem.html."""
        key = _key(call["Key"])
        self._check(key, "DeleteItem", call)
        self._items.get(key[0], {}).pop(key[1], None)
        return {}

    def get_item(self, call: Values) -> dict[str, Any]:
        """GetItem, as in https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html."""
        found = self._item(_key(call["Key"]))
        return {"Item": _copied(found)} if found else {}

    def batch_get_item(self, call: Values) -> dict[str, Any]:
        """BatchGetItem, as in https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html."""
        found = [self._item(_key(key)) for key in call["RequestItems"][self.name]["Keys"]]
        return {"Responses": {self.name: [_copied(item) for item in found if item]}}

    def query(self, call: Values) -> dict[str, Any]:
        """Query, as in https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html."""
        values, index = call["ExpressionAttributeValues"], call.get("IndexName")
        partition, wanted = QUERIES[call["KeyConditionExpression"]]
        value = values[partition]
        hash_key, range_key, projected = INDEXES[index] if index else (PARTITION_KEY, SORT_KEY, None)

        def place(item: Item) -> tuple[Any, Key]:
            return item[range_key], _key(item)

        listed = self.items() if index else self._items.get(value, {}).values()
        found = [item for item in listed if item.get(hash_key) == value and range_key in item]
        backward, most = not call.get("ScanIndexForward", True), min(self._page, call.get("Limit", self._page))
        found = sorted((item for item in found if wanted(item[range_key], values)), key=place, reverse=backward)
        if start := call.get("ExclusiveStartKey"):
            found = [item for item in found if place(item) != place(start) and (place(item) < place(start)) is backward]
        keys = (PARTITION_KEY, SORT_KEY, hash_key, range_key)
        page = [_projected(item, keys, projected) for item in found[:most]]
        last = {"LastEvaluatedKey": {name: page[-1][name] for name in keys}} if len(found) > most else {}
        return {"Items": page, "Count": len(page), **last}

    def scan(self, call: Values) -> dict[str, Any]:
        """Scan, which only counts: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html."""
        assert call["Select"] == "COUNT"
        hash_key, range_key, _ = INDEXES[call["IndexName"]]
        listed = sum({hash_key, range_key} <= item.keys() for item in self.items())
        return {"Count": min(listed, call["Limit"])}

    def _item(self, key: Key) -> Item:
        return self._items.get(key[0], {}).get(key[1], {})

    def _check(self, key: Key, operation: str, call: Values) -> Item:
        """Return the values for the call's expressions. Raises the client's exception if its condition is false."""
        values: Item = _stored(call.get("ExpressionAttributeValues", {}))
        item = self._item(key)
        if "ConditionExpression" in call and not CONDITIONS[_named(call["ConditionExpression"], call)](item, values):
            answer: Any = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "refused"}}
            if item and call.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                answer["Item"] = _image(item)
            raise ConditionalCheckFailedException(answer, operation)
        return values

    def _write(self, key: Key, item: Item) -> None:
        before = self._item(key)
        self._items.setdefault(key[0], {})[key[1]] = item
        if before != item:
            # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html: no change, no record.
            self._stream.append(("MODIFY" if before else "INSERT", item))


def table(memory: MemoryTable) -> Any:  # noqa: ANN401
    """The table with the interface that the functions use: `platform/dynamodb.py`."""

    def operation(answer: Callable[[Values], Any]) -> Callable[..., Any]:
        return lambda **call: answer(call)

    exceptions = SimpleNamespace(ConditionalCheckFailedException=ConditionalCheckFailedException)
    others = {name: operation(getattr(memory, name)) for name in ("batch_get_item", "scan")}
    client = SimpleNamespace(exceptions=exceptions, **others)
    named = ("put_item", "get_item", "update_item", "delete_item", "query")
    bound = {name: operation(getattr(memory, name)) for name in named}
    return SimpleNamespace(name=memory.name, meta=SimpleNamespace(client=client), **bound)


def held(memory: MemoryTable) -> Any:  # noqa: ANN401
    """The table with an interface for tests, which can list it and store items that no function could write."""

    def put(**call: Any) -> None:  # noqa: ANN401
        memory.put_item(call) if "ConditionExpression" in call else memory.hold(call["Item"])

    ours = table(memory)
    ours.put_item = put
    ours.scan = lambda: {"Items": [_copied(item) for item in memory.items()]}
    return ours


@contextmanager
def answering(memory: MemoryTable) -> Iterator[None]:
    """Within the context, the table in memory answers every DynamoDB call of this process."""
    make_api_call, one_at_a_time = BaseClient._make_api_call, Lock()  # type: ignore[attr-defined] # noqa: SLF001

    def answer(client: Any, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        if client.meta.service_model.service_name != "dynamodb":
            return make_api_call(client, operation, arguments)
        note(f"dynamodb.{operation}", arguments)
        if arguments.get("TableName", memory.name) != memory.name:
            refuse("ResourceNotFoundException", operation)
        with one_at_a_time:
            return answered(client, operation, getattr(memory, xform_name(operation)), arguments)

    with patch.object(BaseClient, "_make_api_call", answer):
        yield


def answered(client: Any, operation: str, answer: Callable[[Values], Any], arguments: Values) -> Any:  # noqa: ANN401
    """The response to a call, or the exception that the client raises."""
    try:
        return answer(arguments)
    except ClientError as error:
        known = client.exceptions.from_code(error.response["Error"]["Code"])
        raise known(error.response, operation) from error


def _key(item: Mapping[str, Any]) -> Key:
    return item[PARTITION_KEY], item[SORT_KEY]


def _named(expression: str, arguments: Mapping[str, Any]) -> str:
    """The expression with attribute names instead of their placeholders."""
    for placeholder, name in (arguments.get("ExpressionAttributeNames") or {}).items():
        expression = expression.replace(placeholder, name)
    return expression


def _image(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item in DynamoDB's notation, with a type for each type of value that the functions write."""
    return {name: _SERIALIZER.serialize(value) for name, value in item.items()}


def _stored(item: Mapping[str, Any]) -> Item:
    """The item as a later read returns it: numbers are decimals, and tuples are lists."""
    return {name: dynamodb.plain(dynamodb.noted(value)) for name, value in item.items()}


def _copied(value: Any) -> Any:  # noqa: ANN401
    """A deep copy, so that changes by the reader do not change the stored item."""
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _projected(item: Item, keys: tuple[str, ...], projected: tuple[str, ...] | None) -> Item:
    if projected is None:
        whole: Item = _copied(item)
        return whole
    return {name: value for name, value in item.items() if name in {*keys, *projected}}
