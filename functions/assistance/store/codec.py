"""Turns a record into an item, and back. The item keeps what a later version has added to it."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter

from assistance.domain.record import Attempt, Delivery, Kind, Record, StandsInFor, Take
from assistance.errors import Unreadable
from assistance.models import MAX_SECONDS
from assistance.platform.clock import timestamp_of
from assistance.routing import Channel
from assistance.store import schema
from assistance.store.items import Item, readable

_RECORD: Final = "record"
_INDEXED: Final = frozenset({schema.OUTBOX_SHARD, schema.DUE_SHARD, schema.DUE_AT})
"""The attributes that an item has only while an index lists it."""


def item_of(request_id: str, record: Record, before: Item) -> dict[str, Any]:
    """The item that replaces `before`; {} if there is none yet. Raises `Unreadable` if `record_of` would reject it."""
    document = _adapter().dump_python(_checked(record), mode="json", exclude_defaults=True, exclude={schema.VERSION})
    item = {name: value for name, value in before.items() if name not in _INDEXED} | {
        schema.PARTITION_KEY: request_id,
        schema.SORT_KEY: schema.RECORD,
        schema.CREATED_AT: timestamp_of(record.created_at),
        schema.TTL: record.ttl,
        schema.VERSION: record.version,
        _RECORD: _carried(Record, before.get(_RECORD), document),
    }
    if record.outbox:
        item[schema.OUTBOX_SHARD] = schema.shard(request_id)
    if (due_at := record.due_at) is not None:
        item[schema.DUE_AT] = due_at
        item[schema.DUE_SHARD] = schema.due_shard(request_id, only_to_take=not record.unfinished)
    return item


def record_of(item: Item) -> Record:
    """The record that an item holds. Raises `Unreadable`."""
    document, version = item.get(_RECORD), item.get(schema.VERSION)
    if not isinstance(document, Mapping):
        raise Unreadable(f"{_RECORD}: no map")
    with readable():
        record = _adapter().validate_python({**document, schema.VERSION: version})
    if not isinstance(version, int | Decimal) or version is True or record.version < 1:
        # Each later write is conditional on this version, and such a condition could never hold.
        raise Unreadable(f"{schema.VERSION}: no count")
    return _checked(record)


def _checked(record: Record) -> Record:
    """The record, if its times, channels and deliveries are valid. Raises `Unreadable`."""
    parts = list(_parts(record))
    numbers = [part for part in parts if isinstance(part, int)]  # times, the version, and an escalation's minutes
    if not 0 <= min(numbers) <= max(numbers) <= MAX_SECONDS * 1_000 or record.ttl > MAX_SECONDS:
        raise Unreadable(f"{_RECORD}: no time")
    channels = {*record.channels, *(part.channel for part in parts if isinstance(part, StandsInFor))}
    channels |= {delivery.destination for delivery in record.deliveries if delivery.kind is not Kind.CALLBACK}
    if not record.channels or not {*channels, record.fallback} <= {*Channel, None}:
        raise Unreadable(f"{_RECORD}: no channel")
    if not set(record.channels) <= {each.name for each in record.deliveries if each.kind is Kind.OWN}:
        raise Unreadable(f"{_RECORD}: a channel without its delivery")
    return record


def _parts(value: object) -> Iterator[object]:
    """The value, and the values of which it consists."""
    yield value
    if is_dataclass(value):
        value = tuple(getattr(value, field.name) for field in fields(value))
    if isinstance(value, tuple):
        for part in value:
            yield from _parts(part)


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def _carried(kind: type, before: Any, after: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """The new document, plus those members of the previous document that only a later version of this code knows."""
    if not isinstance(before, Mapping):
        return after
    known = {field.name for field in fields(kind)}
    merged = {name: value for name, value in before.items() if name not in known} | after
    for name, part, key in (("deliveries", Delivery, "name"), ("attempts", Attempt, "id"), ("takes", Take, "id")):
        if name in after:
            olds = {each.get(key): each for each in before.get(name, ()) if isinstance(each, Mapping)}
            merged[name] = [_carried(part, olds.get(each[key]), each) for each in after[name]]
    return merged
