"""Searches the newest requests by text and filters, a page at a time."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

from assistance.errors import Unreadable
from assistance.history import RequestRecord
from assistance.ids import is_request_id
from assistance.platform.clock import timestamp, utc_now
from assistance.store.items import Item
from assistance.store.requests import Requests
from assistance.store.schema import CREATED_AT, PARTITION_KEY, TOPIC

PAGE: Final = 25
MAX_SEARCHED: Final = 400
"""Maximum number of requests that one search reads. The page then shows how far back it has searched, and can continue.
"""
_SIDE_BY_SIDE: Final = 10
AHEAD: Final = timedelta(minutes=1)
"""By how much the clock that set a request's time may be ahead of this machine's clock."""
_EVER: Final = "0001-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Query:
    """A search. Empty fields match everything. `before`: the `next` of the previous page of results."""

    text: str = ""
    status: str = ""
    topic: str = ""
    channel: str = ""
    before: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Query":
        """The query in the parameters of a URL. Raises `ValueError` if `before` is invalid."""
        before = given.get("before", "")
        if before:
            datetime.fromisoformat(before.partition("|")[0])
        status, topic, channel = (given.get(name, "") for name in ("status", "topic", "channel"))
        return cls(given.get("q", "").strip().casefold(), status, topic, channel, before)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of results, newest first. `next`: a cursor for the next page; None if there are no older requests.

    `searched`: how many requests were read; `back_to`: when the oldest of these was accepted. `unreadable`: why
    requests could not be read.
    """

    records: list[RequestRecord]
    unreadable: list[str] = field(default_factory=list)
    next: str | None = None
    searched: int = 0
    back_to: str | None = None


def search(requests: Requests, query: Query, *, texts: bool) -> Page:
    """Find a page of requests. `texts`: search not only ids and references, but also customers' texts."""
    if is_request_id(query.text):
        record, why = _read(requests, query.text)
        return Page([record] if record else [], [why] if why else [], searched=1)
    until, _, met = query.before.partition("|")
    listed = requests.items.accepted(_EVER, until or timestamp(utc_now() + AHEAD), newest_first=True)
    fresh = (item for item in listed if not (item[CREATED_AT] == until and item[PARTITION_KEY] in met.split(",")))
    found, unreadable, searched, last = list[RequestRecord](), list[str](), 0, list[Item]()
    for item, record, why in islice(_records(requests, fresh, query.topic), MAX_SEARCHED):
        searched += 1
        last = [*(each for each in last if each[CREATED_AT] == item[CREATED_AT]), item]
        unreadable += [why] if why else []
        if record and _matches(record, query, texts=texts):
            found.append(record)
            if len(found) == PAGE:
                break
    back_to = str(last[-1][CREATED_AT]) if last else None
    more = len(found) == PAGE or searched == MAX_SEARCHED
    # If the whole page has the time of its cursor, the next page must leave out what earlier pages have shown, too.
    shown = met.split(",") if back_to == until else []
    cursor = f"{back_to}|{','.join((*shown, *map(_id, last)))}" if more else None
    return Page(found, unreadable, cursor, searched, back_to)


def _records(
    requests: Requests, items: Iterator[Item], topic: str
) -> Iterator[tuple[Item, RequestRecord | None, str | None]]:
    """Each item of the index with its request, or with the reason why the request can't be read.

    If `topic` is not empty, requests of other topics are not read.
    """
    while chunk := list(islice(items, PAGE)):
        wanted = [item for item in chunk if topic in ("", item.get(TOPIC))]
        found = dict(zip(map(_id, wanted), _read_together(requests, list(map(_id, wanted))), strict=True))
        yield from ((item, *found.get(_id(item), (None, None))) for item in chunk)


def _id(item: Item) -> str:
    return str(item[PARTITION_KEY])


def _read_together(requests: Requests, ids: list[str]) -> list[tuple[RequestRecord | None, str | None]]:
    """Each request, or why it is unreadable. One call reads all; if one of them is unreadable, a call for each."""
    try:
        return [(record, None) for record in requests.several(ids)]
    except Unreadable:
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            return list(pool.map(partial(_read, requests), ids))


def _read(requests: Requests, request_id: str) -> tuple[RequestRecord | None, str | None]:
    try:
        return requests.get(request_id), None
    except Unreadable as error:
        return None, str(error)


def _matches(record: RequestRecord, query: Query, *, texts: bool) -> bool:
    channels = {*record.record.channels, *(each.channel for each in record.deliveries)}
    return (
        query.status in ("", record.status, _taken(record))
        and query.topic in ("", record.request.topic)
        and query.channel in ("", *channels)
        and any(query.text in text.casefold() for text in _texts(record, texts=texts))
    )


def _taken(record: RequestRecord) -> str:
    return "taken" if record.record.taken else "untaken"


def _texts(record: RequestRecord, *, texts: bool) -> Iterator[str]:
    request = record.request
    yield request.id
    yield request.reference or ""
    if texts:
        yield request.description
        members: dict[str, Any] = request.optional_members
        yield from map(str, members.get("customer", {}).values())
        yield str(members.get("conversation_url", ""))
        yield from (f"{each.label}: {each.value}" for each in request.details)
