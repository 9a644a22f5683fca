"""Counts what AWS bills while the functions run: calls, DynamoDB's request units and bytes of logs.

The units are computed from the sizes of the real items before and after each write, since moto returns constants.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.ThroughputConsiderations
"""

import io
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from threading import Lock
from typing import Any, Final, TypeAlias, cast
from unittest.mock import patch

from botocore.client import BaseClient
from moto.backends import get_backend

from assistance.platform import dynamodb
from assistance.platform.observability import logger
from tests.recorded_calls import running

Item: TypeAlias = Mapping[str, Any]

WRITE_BYTES: Final = 1_024
READ_BYTES: Final = 4_096
# SNS bills a publish call, or a batch, in units of this size: https://aws.amazon.com/sns/pricing/
SNS_BYTES: Final = 65_536


@dataclass(slots=True)
class Spent:
    """The usage of one function, or of several together."""

    invocations: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    writes: float = 0
    reads: float = 0
    published: int = 0
    """The number of billed SNS units of 64 KB."""
    logged: int = 0
    """The number of logged bytes."""

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.invocations + other.invocations,
            self.calls + other.calls,
            self.writes + other.writes,
            self.reads + other.reads,
            self.published + other.published,
            self.logged + other.logged,
        )

    def __sub__(self, other: "Spent") -> "Spent":
        calls = Counter(self.calls)
        calls.subtract(other.calls)
        return Spent(
            self.invocations - other.invocations,
            Counter({call: count for call, count in calls.items() if count}),
            self.writes - other.writes,
            self.reads - other.reads,
            self.published - other.published,
            self.logged - other.logged,
        )


def size(item: Item) -> int:
    """The size of an item in bytes, including attribute names."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Any) -> int:  # noqa: ANN401
    match value:
        case None | bool():
            return 1
        case str():
            return len(value.encode())
        case int() | Decimal():
            digits = str(abs(value)).replace(".", "").strip("0")
            return ceil(len(digits) / 2) + 1 + (value < 0)
        case set() | frozenset():
            return sum(map(_value_size, value))
        case Mapping():
            return 3 + size(value) + len(value)
        case Sequence():
            return 3 + sum(map(_value_size, value)) + len(value)
    raise TypeError(type(value))


def _plain(item: Item) -> dict[str, Any]:
    """The item without DynamoDB's type notation: boto3's resource passes it without, its client with it."""
    typed = all(isinstance(value, dict) and len(value) == 1 and next(iter(value)).isupper() for value in item.values())
    return {name: dynamodb.plain(value) for name, value in item.items()} if typed else dict(item)


def _units(*sizes: int) -> int:
    return max(1, *(ceil(each / WRITE_BYTES) for each in sizes))


class Table:
    """A table that is written to: its key schema, its indexes and its items."""

    def __init__(self, description: Item, item: Callable[[Item], Item | None]) -> None:
        """`description`: arguments of `CreateTable`. `item`: returns the item with a key, without a metered call."""
        self._description = description
        self._item = item

    def item(self, key: Item) -> dict[str, Any] | None:
        found = self._item(_plain(key))
        return _plain(found) if found else None

    def key_of(self, item: Item) -> dict[str, Any]:
        return {part["AttributeName"]: item[part["AttributeName"]] for part in self._description["KeySchema"]}

    def index_writes(self, before: Item | None, after: Item | None) -> int:
        """The write units that a write costs in the indexes: none if the item's index entry does not change."""
        return sum(self._entry_writes(index, before, after) for index in self._description["GlobalSecondaryIndexes"])

    def _entry_writes(self, index: Item, before: Item | None, after: Item | None) -> int:
        old, new = self._entry(index, before), self._entry(index, after)
        if old == new:
            return 0
        if not old or not new:
            return _units(size(old or new))
        keys = [part["AttributeName"] for part in index["KeySchema"]]
        moved = any(old[name] != new[name] for name in keys)
        return _units(size(old)) + _units(size(new)) if moved else _units(size(old), size(new))

    def _entry(self, index: Item, item: Item | None) -> dict[str, Any]:
        keys = [part["AttributeName"] for part in index["KeySchema"]]
        if item is None or any(name not in item for name in keys):
            return {}
        projection = index["Projection"]
        if projection["ProjectionType"] == "ALL":
            return dict(item)
        named = {*keys, *self.key_of(item), *projection.get("NonKeyAttributes", ())}
        return {name: value for name, value in item.items() if name in named}


def of_moto(name: str) -> Table:
    """A table in moto."""
    backend = get_backend("dynamodb")["123456789012"]["us-east-1"]

    def item(key: Item) -> Item | None:
        found = backend.get_item(name, {part: dynamodb.noted(value) for part, value in key.items()})
        return cast("Item", found.to_json()["Attributes"]) if found else None

    return Table(backend.get_table(name).describe("Table")["Table"], item)


Tables: TypeAlias = Callable[[str], Table]


class _Write:
    """The write of one item. Its cost depends on the item's size before and after."""

    def __init__(self, table: Table, operation: str, arguments: Item, factor: int = 1) -> None:
        self._table = table
        put = operation.startswith("Put")
        self._key = self._table.key_of(_plain(arguments["Item"])) if put else arguments["Key"]
        self._before = self._table.item(self._key)
        self._factor = factor

    def units(self) -> int:
        after = self._table.item(self._key)
        sizes = (size(self._before or {}), size(after or {}))
        return self._factor * _units(*sizes) + self._table.index_writes(self._before, after)


def _writes(tables: Tables, operation: str, arguments: Item) -> list[_Write]:
    if operation in {"PutItem", "UpdateItem", "DeleteItem"}:
        return [_Write(tables(arguments["TableName"]), operation, arguments)]
    if operation == "TransactWriteItems":
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
        parts = [part for each in arguments["TransactItems"] for part in each.items()]
        return [_Write(tables(part["TableName"]), kind, part, 2) for kind, part in parts]
    return []


def _reads(tables: Tables, operation: str, arguments: Item, answer: Item) -> float:
    """The read units of a call. Fails for a query that projects or filters: its answer lacks data that it has read."""
    if operation == "Query":
        assert not arguments.keys() & {"ProjectionExpression", "FilterExpression"}
        return _read([sum(size(_plain(item)) for item in answer["Items"])], arguments)
    if operation == "GetItem":
        return _read([size(tables(arguments["TableName"]).item(arguments["Key"]) or {})], arguments)
    if operation == "BatchGetItem":
        return sum(
            _read([size(tables(name).item(key) or {}) for key in wanted["Keys"]], wanted)
            for name, wanted in arguments["RequestItems"].items()
        )
    return 0


def _read(sizes: Iterable[int], how: Item) -> float:
    return sum(max(1, ceil(each / READ_BYTES)) for each in sizes) * (1 if how.get("ConsistentRead") else 0.5)


def _chunks(operation: str, arguments: Item) -> int:
    entries = arguments["PublishBatchRequestEntries"] if operation == "PublishBatch" else [arguments]
    return ceil(sum(len(str(entry["Message"]).encode()) for entry in entries) / SNS_BYTES)


_only_metered: list[str] = []


@contextmanager
def as_only_metered(function: str) -> Iterator[None]:
    """Count calls within the context as calls of `function`, without recording them for the tests of permissions."""
    _only_metered.append(function)
    try:
        yield
    finally:
        _only_metered.pop()


def _spender() -> str | None:
    return _only_metered[-1] if _only_metered else running()


class _Log(io.TextIOBase):
    """Counts the bytes written, and does not store them."""

    def __init__(self, spent: Mapping[str, Spent]) -> None:
        self._spent = spent

    def write(self, text: str, /) -> int:
        if function := _spender():
            self._spent[function].logged += len(text.encode())
        return len(text)


@contextmanager
def metered(tables: Tables = of_moto) -> Iterator[Mapping[str, Spent]]:
    """Count the functions' AWS usage within the context, by function. `tables`: gives a table by its name."""
    spent: defaultdict[str, Spent] = defaultdict(Spent)
    lock = Lock()
    make_api_call = BaseClient._make_api_call  # type: ignore[attr-defined] # noqa: SLF001

    def counted(client: Any, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        if not (function := _spender()):
            return make_api_call(client, operation, arguments)
        service = client.meta.service_model.service_name
        database = service == "dynamodb"
        writes = _writes(tables, operation, arguments) if database else []
        answer: Any = None
        try:
            answer = make_api_call(client, operation, arguments)
        finally:
            # AWS also bills a write whose condition fails, by the size of the existing item.
            with lock:
                ours = spent[function]
                ours.calls[f"{service}.{operation}"] += 1
                ours.writes += sum(write.units() for write in writes)
                ours.reads += _reads(tables, operation, arguments, answer) if database and answer is not None else 0
                ours.published += _chunks(operation, arguments) if service == "sns" else 0
        return answer

    log, handler = _Log(spent), cast("logging.StreamHandler[Any]", logger.registered_handler)
    stream = handler.setStream(log)
    try:
        with patch.object(BaseClient, "_make_api_call", counted), redirect_stdout(log):
            yield spent
    finally:
        handler.setStream(stream)
