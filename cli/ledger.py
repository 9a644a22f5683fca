"""Counts the requests of a period, each as ended (every delivery has a final status), open, unreadable or missing."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field

from assistance.domain.record import Kind, Record
from assistance.errors import Unreadable
from assistance.ids import RequestId
from assistance.models import Model, Moment, TopicName
from assistance.platform.clock import ms_of, timestamp
from assistance.store import codec
from assistance.store.items import Item, checked, key_of
from assistance.store.requests import Requests, record_key
from assistance.store.schema import PARTITION_KEY
from assistance.store.table import BATCH

_PARALLEL: Final = 10


class Listed(Model):
    """A request as the ledger's index lists it."""

    id: Annotated[RequestId, Field(alias=PARTITION_KEY)]
    topic: TopicName
    created_at: Moment


Found: TypeAlias = Record | Unreadable | None
"""The record of a request; or the exception that says why it is unreadable; or None if the table no longer holds it."""


@dataclass(slots=True)
class Balance:
    """The counts of a period. `accepted` = `ended` + `open` + `unaccounted` + `unreadable`.

    `accepted` is by topic, `ended` by `topic/status`, `deliveries` by `topic/channel/status`; a resend counts as a
    delivery. `open` holds the time at which each open request was accepted. `unaccounted` holds the ids that the index
    lists although the table holds no such request, `unreadable` a line for each unreadable request that says why.
    """

    since: str
    accepted: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    deliveries: Counter[str] = field(default_factory=Counter)
    open: dict[str, str] = field(default_factory=dict)
    unaccounted: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def count(self, request: Listed, found: Found) -> None:
        """Count a request. `found`: its record, None if the table no longer holds it, or why it is unreadable."""
        self.accepted[request.topic] += 1
        if found is None:
            self.unaccounted.append(request.id)
        elif isinstance(found, Unreadable):
            self.unreadable.append(str(found))
        else:
            self._count_record(request, found)

    def count_unreadable(self, why: Unreadable) -> None:
        """Count a request whose entry in the index is unreadable, so that even its topic is unknown."""
        self.accepted["unreadable"] += 1
        self.unreadable.append(str(why))

    def document(self) -> dict[str, Any]:
        """The counts as a dictionary, for `--json`."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def _count_record(self, request: Listed, record: Record) -> None:
        if record.has_ended:
            self.ended[f"{request.topic}/{record.status}"] += 1
        else:
            self.open[request.id] = request.created_at
        for delivery in record.deliveries:
            status = delivery.final or ("open" if delivery in record.unfinished else None)
            if status and delivery.kind is not Kind.CALLBACK:
                self.deliveries[f"{request.topic}/{delivery.destination}/{status}"] += 1


def count_requests(
    requests: Requests, since: datetime, until: datetime, report_progress: Callable[[str], None]
) -> Balance:
    """Count the requests accepted in that period, oldest first.

    `report_progress` is called, for a progress bar, with the time at which the last counted request was accepted.

    A request that has just been accepted may be missing: the index follows its table, usually within a second.
    """
    balance = Balance(timestamp(since))
    items = requests.items.accepted(timestamp(since), timestamp(until))
    with ThreadPoolExecutor(_PARALLEL) as pool:
        while page := list(islice(items, BATCH * _PARALLEL)):
            listed = list(_readable(page, balance))
            batches = [listed[start : start + BATCH] for start in range(0, len(listed), BATCH)]
            found: dict[str, Found] = {}
            for records in pool.map(partial(_records, requests), batches):
                found |= records
            others = [each.id for each in listed if each.id not in found]
            found |= zip(others, pool.map(partial(_read, requests), others), strict=True)
            for each in listed:
                balance.count(each, found[each.id])
            if listed:
                report_progress(listed[-1].created_at)
    return balance


def _readable(items: Sequence[Item], balance: Balance) -> Iterator[Listed]:
    for item in items:
        try:
            yield checked(Listed, item)
        except Unreadable as error:
            balance.count_unreadable(Unreadable(f"{key_of(item)[PARTITION_KEY]}: {error}"))


def _records(requests: Requests, listed: Sequence[Listed]) -> dict[str, Record]:
    """Read these requests' records, by the request's id, with eventually consistent reads, which cost half.

    The result may lack the newest records. It lacks unreadable ones, those of an earlier request with the same id, and
    those of requests that have not ended: after a rollback, version 1 may have delivered such a request.
    """
    accepted_at = {each.id: ms_of(each.created_at) for each in listed}
    found: dict[str, Record] = {}
    for item in requests.items.many(list(map(record_key, accepted_at)), consistent=False):
        try:
            record = codec.record_of(item)
        except Unreadable:
            # `_read` then reads the complete request, and its exception says what is wrong.
            continue
        # An older record belongs to an earlier request with the same id.
        if record.created_at == accepted_at[item[PARTITION_KEY]] and record.has_ended:
            found[item[PARTITION_KEY]] = record
    return found


def _read(requests: Requests, id_: str) -> Found:
    try:
        request = requests.get(id_)
    except Unreadable as error:
        return error
    return request.record if request else None
