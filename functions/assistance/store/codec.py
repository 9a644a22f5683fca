"""Turns a record into an item, and back. The item keeps members that a later version of this code has added."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter

from assistance.domain.record import Attempt, Delivery, End, Handled, Kind, Record, StandsInFor, Take
from assistance.errors import Unreadable
from assistance.models import MAX_SECONDS
from assistance.platform.clock import timestamp_of
from assistance.routing import Channel
from assistance.store import schema
from assistance.store.items import Item, readable
from assistance.store.schema import Due

_RECORD: Final = "record"
_INDEXED: Final = frozenset({schema.OUTBOX_SHARD, schema.DUE_SHARD, schema.DUE_AT})
"""The attributes that an item has only while an index lists it."""


def item_of(request_id: str, record: Record, before: Item) -> dict[str, Any]:
    """The record's item, to replace the item `before` (or {}). Raises `Unreadable` if `record_of` would reject it."""
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
        waits_for = Due.OPEN if record.unfinished else Due.CALLBACK if record.decides_at is None else Due.TO_TAKE
        # A callback must not delay the escalation. So the reconciler looks for the callback after that.
        item[schema.DUE_AT] = record.decides_at if waits_for is Due.TO_TAKE else due_at
        item[schema.DUE_SHARD] = schema.due_shard(request_id, waits_for)
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
    if any(not 0 <= time <= MAX_SECONDS * 1_000 for time in _times(record)):
        raise Unreadable(f"{_RECORD}: no time")
    if not record.channels or not set(_channels(record)) <= set(Channel):
        raise Unreadable(f"{_RECORD}: no channel")
    if not set(record.channels) <= {each.name for each in record.deliveries if each.kind is Kind.OWN}:
        raise Unreadable(f"{_RECORD}: a channel without its delivery")
    return record


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def _channels(record: Record) -> Iterator[str]:
    yield from record.channels
    if record.fallback is not None:
        yield record.fallback
    for delivery in record.deliveries:
        if delivery.kind is not Kind.CALLBACK:
            yield delivery.destination
        if isinstance(delivery.cause, StandsInFor):
            yield delivery.cause.channel


def _times(record: Record) -> Iterator[int]:
    yield record.created_at
    yield record.ttl * 1_000
    yield from (record.escalate_at or 0, record.erased_at or 0)
    for take in record.takes:
        yield from (take.at, take.released_at or 0)
    for entry in record.outbox:
        yield entry.since
    for delivery in record.deliveries:
        yield from (delivery.locked_until, delivery.due_at or 0, delivery.put_off_at, delivery.limited_at)
        yield delivery.wanted_since
        if isinstance(delivery.cause, End | Handled):
            yield delivery.cause.at
        for attempt in delivery.attempts:
            yield from (attempt.at, attempt.ended_at or 0, attempt.returned_at or 0, attempt.confirmed_at or 0)


def _carried(kind: type[Record | Delivery | Attempt | Take], before: Any, after: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """The document `after`, plus those members of `before` that the class `kind` lacks: a later version added them."""
    if not isinstance(before, Mapping):
        return after
    merged = {name: value for name, value in before.items() if name not in kind.__slots__} | after
    for name, part, key in (("deliveries", Delivery, "name"), ("attempts", Attempt, "id"), ("takes", Take, "id")):
        if name in after:
            olds = {each.get(key): each for each in before.get(name, ()) if isinstance(each, Mapping)}
            merged[name] = [_carried(part, olds.get(each[key]), each) for each in after[name]]
    return merged
