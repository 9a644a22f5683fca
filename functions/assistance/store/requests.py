"""Accepts, reads and changes requests in the table. A record is changed only by `Requests.change`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.errors import IdempotencyKeyReused, TableUnavailable, Unreadable
from assistance.history import RequestRecord, published_at
from assistance.models import AssistanceRequest, StoredRoute
from assistance.platform import aws, tracing
from assistance.platform.clock import Clock, epoch_ms, ms_of, timestamp_of, utc_now
from assistance.routing import routes
from assistance.store import codec, legacy, mirror, schema
from assistance.store.items import Accepted, Item, checked, request_of
from assistance.store.table import Items

Answer = TypeVar("Answer")
ERASED: Final = "(erased)"
"""Replaces the description of an erased request. A Slack message shows it if it is updated after the erasure."""
# A write fails only if another writer has just succeeded. A record has a handful of writers, so 20 tries are enough.
_TRIES: Final = 20


def request_key(request_id: str) -> dict[str, str]:
    """The key of a request item."""
    return {schema.PARTITION_KEY: request_id, schema.SORT_KEY: schema.REQUEST}


def record_key(request_id: str) -> dict[str, str]:
    """The key of a record item."""
    return {schema.PARTITION_KEY: request_id, schema.SORT_KEY: schema.RECORD}


@dataclass(frozen=True, slots=True)
class Stored:
    """A record, and the item from which it was read: {} if the table has no item for the record yet."""

    record: Record
    item: Item
    version_1: Mapping[str, Item] | None = None  # the items by sort key, if version 1 has accepted or delivered it
    behind: bool = False  # True if the record holds more than `item`: what version 1 did, or the time of publication
    unpublished: bool = False  # True if the request itself still has to be published: its item is in the outbox


class RequestGone(Exception):
    """The request has expired, or its id now belongs to a later request."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Reads and writes the requests in the table. Each method raises `TableUnavailable` if DynamoDB can't answer."""

    items: Items
    clock: Clock = utc_now

    def accept(
        self, request: AssistanceRequest, *, payload_hash: str, retention: timedelta, caller: str = ""
    ) -> tuple[AssistanceRequest, bool]:
        """Store a request in one conditional write. Returns the stored request, and whether an earlier call stored it.

        `caller`: the id of the bot's API key. Raises `Unreadable`, or `IdempotencyKeyReused` if the payloads differ.
        """
        route = routes()[request.topic]
        item: dict[str, Any] = {
            **request_key(request.id),
            schema.TOPIC: request.topic,
            "description": request.description,
            schema.CREATED_AT: request.created_at,
            "payload_hash": payload_hash,
            schema.TTL: int((datetime.fromisoformat(request.created_at) + retention).timestamp()),
            schema.CHANNELS: list(route.channels),
            schema.FALLBACK_CHANNEL: route.fallback,
            "outbox_channels": list(route.channels),
            schema.OUTBOX_SHARD: schema.shard(request.id),
            schema.LEDGER_SHARD: schema.shard(request.id),
            **request.optional_members,
        }
        optional = {
            schema.ESCALATE_AFTER: route.escalate_after,
            "callback_url": request.callback_url,
            "caller": caller or None,
            schema.TRACE: tracing.current(),
        }
        item |= {name: value for name, value in optional.items() if value is not None}
        earlier = self.items.add(item, expired_at=self._now_s())
        if earlier is None:
            return request, False
        if earlier.get("payload_hash") != payload_hash:
            raise IdempotencyKeyReused
        # If both times are equal, the SDK has repeated this call's own write, whose answer was lost.
        return request_of(earlier), earlier.get(schema.CREATED_AT) != request.created_at

    def get(self, request_id: str) -> RequestRecord | None:
        """A request with its history, by one strongly consistent query; None if there is none. Raises `Unreadable`."""
        items = self.items.of(request_id)
        try:
            return self.from_items(items)
        except Unreadable as error:
            raise Unreadable(f"{request_id}: {error}") from None

    def several(self, request_ids: Sequence[str]) -> list[RequestRecord | None]:
        """The requests with these ids, in the same order; None for each that has expired. Raises `Unreadable`.

        Version 1's attempts at a request that this version has accepted are left out.
        """
        of: dict[str, list[Item]] = {each: [] for each in request_ids}
        for item in self.items.many(
            [key(each) for each in of for key in (request_key, record_key)], consistent=True, whole=True
        ):
            of[item[schema.PARTITION_KEY]].append(item)
        return [self.from_items(of[each]) if _is_ours(of[each]) else self.get(each) for each in request_ids]

    def from_items(self, items: list[Item]) -> RequestRecord | None:
        """A request and its history, made from all its items; None if it has expired. Raises `Unreadable`."""
        if (read := self._read(items)) is None:
            return None
        request, accepted, stored = read
        return RequestRecord(
            request=request,
            record=stored.record,
            published_at=published_at(accepted.published_at, stored.record),
            unpublished=stored.unpublished,
            caller=accepted.caller,
        )

    def read(self, request_id: str) -> Stored:
        """A request's record. Raises `RequestGone` or `Unreadable`."""
        if (read := self._read(self.items.of(request_id))) is None:
            raise RequestGone
        return read[2]

    def _read(self, items: list[Item]) -> tuple[AssistanceRequest, Accepted, Stored] | None:
        """What a request's items hold. None if the request has expired. Raises `Unreadable`."""
        item = next((item for item in items if item[schema.SORT_KEY] == schema.REQUEST), None)
        if item is None or (accepted := checked(Accepted, item)).ttl < self._now_s():
            return None
        request = request_of(item)
        stored = _stored(item, items, ms_of(request.created_at), partial(fresh_of, item, request, accepted))
        if accepted.published_at:
            record = transitions.first_published(stored.record, at=ms_of(accepted.published_at))
            behind = stored.behind or (bool(stored.item) and record is not stored.record)
            stored = replace(stored, record=record, behind=behind)
        return request, accepted, stored

    def change(
        self, request_id: str, event: Callable[[Record], tuple[Record, Answer]], known: Stored | None = None
    ) -> tuple[Stored, Answer]:
        """Apply an event to a record, and write the record if it has changed. Returns it, and the event's answer.

        `known`: the record as the caller has read or computed it; None to read it first. If another writer has changed
        the record meanwhile, the event is applied again, to that writer's record. Raises `RequestGone` or `Unreadable`.
        """
        stored = known or self.read(request_id)
        for _ in range(_TRIES):
            record, answer = event(stored.record)
            if record is stored.record and not stored.behind:
                return stored, answer
            record = replace(record, version=stored.record.version + 1)
            item = codec.item_of(request_id, record, stored.item)
            version = stored.record.version
            found = self.items.replace(item, version) if version else self.items.add(item)
            if found is None:
                if stored.version_1 is not None:
                    for each in mirror.items_of(request_id, stored.record, record, stored.version_1):
                        self.items.put(each)
                return Stored(record, item, stored.version_1), answer
            if stored.version_1 is None:
                stored = _in_item(found, stored.record.created_at, partial(replace, stored.record, version=0))
            else:
                # The other writer's record may lack what version 1 has done.
                stored = self.read(request_id)
        raise TableUnavailable("conflict")

    def update(self, request_id: str, event: Callable[[Record], Record], known: Stored | None = None) -> Stored:
        """Apply an event, and write the record if it changed. `known`: the record as already read; None to read it."""
        return self.change(request_id, lambda record: (event(record), None), known)[0]

    def erase_texts(self, request_id: str, record: Record) -> None:
        """Remove the customer's texts from an erased request's item, and the payload's hash, which depends on them."""
        said = ("customer", "conversation_url", "reference", "details", "payload_hash")
        self.items.erase(request_key(request_id), timestamp_of(record.created_at), said, ERASED)

    def _now_s(self) -> int:
        return epoch_ms(self.clock()) // 1_000


def deployed(table_name: str) -> Requests:
    """The requests in the deployed table."""
    return Requests(Items(aws.table(table_name)))


def fresh_of(item: Item, request: AssistanceRequest, accepted: Accepted) -> Record:
    """The record of a request before its first attempt, computed from its item and from what the item holds."""
    route = accepted.route
    if schema.FALLBACK_CHANNEL not in item:
        # Version 1 has stored the request without its fallback.
        current = routes().get(request.topic)
        route = route.model_copy(update={"fallback": current and current.fallback})
    return fresh(request, route, accepted.ttl)


def fresh(request: AssistanceRequest, route: StoredRoute, ttl: int) -> Record:
    """The record of a request before its first attempt. `ttl` is in seconds since 1970."""
    created_at = ms_of(request.created_at)
    accepted = Record(
        topic=request.topic,
        created_at=created_at,
        ttl=ttl,
        channels=tuple(map(str, route.channels)),
        fallback=route.fallback and str(route.fallback),
        calls_back=request.callback_url is not None,
        escalate_at=created_at + 60_000 * route.escalate_after if route.escalate_after else None,
    )
    return transitions.first(accepted)


def _stored(request_item: Item, items: list[Item], created_at: int, new: Callable[[], Record]) -> Stored:
    found = next((item for item in items if item[schema.SORT_KEY] == schema.RECORD), None)
    try:
        stored = replace(_in_item(found or {}, created_at, new), unpublished=schema.OUTBOX_SHARD in request_item)
    except RequestGone:
        # The record is of a later request than the request item, which no race can cause. So an item is damaged.
        raise Unreadable("record: of another request") from None
    if schema.FALLBACK_CHANNEL in request_item and not any(map(legacy.is_delivery, items)):
        return stored
    record = legacy.record_of(request_item, items, stored.record)
    behind = found is not None and record is not stored.record
    return replace(stored, record=record, version_1={str(item[schema.SORT_KEY]): item for item in items}, behind=behind)


def _is_ours(items: list[Item]) -> bool:
    """Whether this version has accepted the request: version 1 stored no attribute for the fallback."""
    return all(schema.FALLBACK_CHANNEL in item for item in items if item[schema.SORT_KEY] == schema.REQUEST)


def _in_item(item: Item, created_at: int, new: Callable[[], Record]) -> Stored:
    """The item's record; `new()` if the item is {} or an earlier request's. Raises `RequestGone` if a later request's.

    `created_at`: when the request was accepted.
    """
    if not item:
        return Stored(new(), {})
    existing = codec.record_of(item)
    if existing.created_at == created_at:
        # As in nearly every read, so do not compute the new record, which takes a thirtieth of the time for a `GET`.
        return Stored(existing, item)
    record = transitions.same_request(existing, new())
    if record is None:
        raise RequestGone
    return Stored(record, {})
