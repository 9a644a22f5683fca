"""The items in the outbox: messages to publish, each with its channels."""

from collections.abc import Callable
from dataclasses import dataclass, field

from assistance.domain.record import Entry, Kind, Record
from assistance.errors import Unreadable
from assistance.models import AssistanceRequest, Message, StoredRoute
from assistance.platform import tracing
from assistance.platform.clock import timestamp_of
from assistance.routing import CALLBACK, DESTINATIONS
from assistance.store import legacy
from assistance.store.items import Accepted, Item, checked, readable, request_of
from assistance.store.requests import Stored, stored_in
from assistance.store.schema import CHANNELS, FALLBACK_CHANNEL, PARTITION_KEY, RECORD, REQUEST, SORT_KEY, TRACE


@dataclass(frozen=True, slots=True)
class Publication:
    """A message of the outbox, with the destinations to which it is published."""

    message: Message
    channels: tuple[str, ...]
    since: str  # when the message entered the outbox
    key: tuple[str, str]  # partition key and sort key of its item
    entry: Entry | None = None  # None if its item is no record
    trace: str | None = field(default=None, compare=False)  # the X-Ray trace header of the bot's call


@dataclass(frozen=True, slots=True)
class Outboxed:
    """The messages to publish for one outbox item. `stored` is the record if the item holds one, else None."""

    publications: tuple[Publication, ...]
    stored: Stored | None = None


@readable()
def outboxed(item: Item, request_item: Callable[[str], Item | None]) -> Outboxed:
    """The messages to publish for an item in the outbox. `request_item` reads a request's item. Raises `Unreadable`."""
    sort_key = item.get(SORT_KEY)
    if sort_key == REQUEST:
        return Outboxed((_request(item),))
    if sort_key == RECORD:
        stored = stored_in(item)
        said = request_item(str(item[PARTITION_KEY]))
        # If the request has expired, its messages are not published.
        entries = stored.record.outbox if said else ()
        return Outboxed(tuple(_entry(said or {}, item, stored, entry) for entry in entries), stored)
    message, since = legacy.callback_of(item)
    return Outboxed((Publication(message, (CALLBACK,), since, _key(item)),))


def _request(item: Item) -> Publication:
    request, accepted, trace = request_of(item), checked(Accepted, item), tracing.valid(item.get(TRACE))
    if FALLBACK_CHANNEL not in item or item.get("outbox_channels") != item.get(CHANNELS):
        # Version 1 accepted this request, or put it into the outbox again during a rollback.
        entry = checked(legacy.LegacyEntry, item)
        message = Message(version=1, request=request, fallback=entry.fallback)
        since = entry.outbox_since or request.created_at
        return Publication(message, entry.outbox_channels, since, _key(item), trace=trace)
    message = Message(request=request, route=accepted.route, ttl=accepted.ttl)
    return Publication(message, accepted.channels, request.created_at, _key(item), trace=trace)


def _entry(said: Item, item: Item, stored: Stored, entry: Entry) -> Publication:
    record, delivery = stored.record, stored.record.delivery(entry.delivery)
    if delivery is None or delivery.destination not in DESTINATIONS:
        raise Unreadable("record: an outbox entry without its delivery")
    request = request_of(said)
    if delivery.kind is Kind.CALLBACK:
        request = request.for_its_bot()
    message = message_for(request, record, delivery.name)
    since = timestamp_of(entry.since)
    return Publication(message, (delivery.destination,), since, _key(item), entry, tracing.valid(said.get(TRACE)))


@readable()
def message_for(request: AssistanceRequest, record: Record, delivery: str | None) -> Message:
    """The message of the delivery with this name; None stands for the request's own channel. Raises `Unreadable`."""
    route = StoredRoute.model_validate({"channels": record.channels, "fallback": record.fallback})
    return Message(request=request, route=route, ttl=record.ttl, delivery=delivery)


def _key(item: Item) -> tuple[str, str]:
    return str(item[PARTITION_KEY]), str(item[SORT_KEY])
