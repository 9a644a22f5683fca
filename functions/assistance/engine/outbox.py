"""Turns an item in the outbox into the messages to publish, each with its destinations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from assistance.domain.record import Entry, Kind, Record
from assistance.errors import Unreadable
from assistance.models import AssistanceRequest, Message, StoredRoute
from assistance.platform import tracing
from assistance.platform.clock import timestamp_of
from assistance.routing import CALLBACK, DESTINATIONS
from assistance.store import codec, legacy
from assistance.store.items import Accepted, Item, checked, key_of, readable, request_of
from assistance.store.requests import Stored
from assistance.store.schema import CHANNELS, FALLBACK_CHANNEL, PARTITION_KEY, RECORD, REQUEST, SORT_KEY, TRACE


@dataclass(frozen=True, slots=True)
class Publication:
    """A message of the outbox, with the destinations to which it is published."""

    message: Message
    channels: tuple[str, ...]
    since: str  # when the message entered the outbox
    entry: Entry | None = None  # None if its item is no record
    trace: str | None = field(default=None, compare=False)  # the X-Ray trace header of the bot's call


@dataclass(frozen=True, slots=True)
class Outboxed:
    """The messages to publish for the outbox item with that key. `stored` is the record if the item holds one."""

    key: Mapping[str, str]
    publications: tuple[Publication, ...]
    stored: Stored | None = None


@readable()
def outboxed(item: Item, request_item: Callable[[str], Item | None]) -> Outboxed:
    """The messages to publish for an item in the outbox. `request_item` reads a request's item. Raises `Unreadable`."""
    key = key_of(item)
    if key[SORT_KEY] == REQUEST:
        return Outboxed(key, (_request(item),))
    if key[SORT_KEY] == RECORD:
        stored = Stored(codec.record_of(item), item)
        said = request_item(key[PARTITION_KEY])
        # If the request has expired, its messages are not published.
        entries = stored.record.outbox if said else ()
        return Outboxed(key, tuple(_entry(said or {}, stored.record, entry) for entry in entries), stored)
    message, since = legacy.callback_of(item)
    return Outboxed(key, (Publication(message, (CALLBACK,), since),))


def _request(item: Item) -> Publication:
    request, accepted, trace = request_of(item), checked(Accepted, item), tracing.valid(item.get(TRACE))
    if FALLBACK_CHANNEL not in item or item.get("outbox_channels") != item.get(CHANNELS):
        # Version 1 accepted this request, or put it into the outbox again during a rollback.
        entry = checked(legacy.LegacyEntry, item)
        message = Message(version=1, request=request, fallback=entry.fallback)
        since = entry.outbox_since or request.created_at
        return Publication(message, entry.outbox_channels, since, trace=trace)
    message = Message(request=request, route=accepted.route, ttl=accepted.ttl)
    return Publication(message, accepted.channels, request.created_at, trace=trace)


def _entry(said: Item, record: Record, entry: Entry) -> Publication:
    delivery = record.delivery(entry.delivery)
    if delivery is None or delivery.destination not in DESTINATIONS:
        raise Unreadable("record: an outbox entry without its delivery")
    request = request_of(said)
    if delivery.kind is Kind.CALLBACK:
        request = request.for_its_bot()
    message = message_for(request, record, delivery.name)
    trace = tracing.valid(said.get(TRACE))
    return Publication(message, (delivery.destination,), timestamp_of(entry.since), entry, trace)


@readable()
def message_for(request: AssistanceRequest, record: Record, delivery: str | None) -> Message:
    """The message of the delivery with this name; None stands for the request's own channel. Raises `Unreadable`."""
    route = StoredRoute.model_validate({"channels": record.channels, "fallback": record.fallback})
    return Message(request=request, route=route, ttl=record.ttl, delivery=delivery)
