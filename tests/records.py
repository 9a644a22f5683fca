"""Reads and writes a request's delivery record as the functions do, for tests that start from a given state."""

import uuid
from dataclasses import replace
from typing import Any, Final

from assistance.domain import transitions
from assistance.domain.record import Attempt, Delivery, Record
from assistance.history import RESEND
from assistance.models import StoredRoute
from assistance.platform.clock import epoch_ms, utc_now
from assistance.routing import Channel
from assistance.store import codec
from assistance.store.requests import Requests
from assistance.store.table import Items

ROUTE: Final = StoredRoute(channels=(Channel.SLACK,), fallback=Channel.EMAIL)


def requests(table: Any) -> Requests:  # noqa: ANN401
    return Requests(Items(table))


def record_of(table: Any, request_id: str) -> Record:  # noqa: ANN401
    """The request's record. If none is stored, it is derived from the request."""
    return requests(table).read(request_id).record


def delivery_of(table: Any, request_id: str, name: str) -> Delivery:  # noqa: ANN401
    found = record_of(table, request_id).delivery(name)
    assert found
    return found


def put_delivery(table: Any, request_id: str, name: str, **changes: Any) -> None:  # noqa: ANN401
    """Store the request's record with `changes` in the delivery `name`."""

    def changed(record: Record) -> tuple[Record, None]:
        deliveries = tuple(replace(each, **changes) if each.name == name else each for each in record.deliveries)
        return replace(record, deliveries=deliveries), None

    requests(table).change(request_id, changed)


def under_way(*, since: int = 0, number: int = 1) -> tuple[Attempt, ...]:
    """`number` attempts that started at the time `since` and have no outcome yet."""
    return tuple(Attempt(f"attempt-{each}", since) for each in range(number))


def resend(table: Any, request_id: str, channel: str) -> str:  # noqa: ANN401
    """Resend the request as an operator does. Returns the name of the new delivery."""
    name = f"{RESEND}{uuid.uuid4()}"

    def again(record: Record) -> tuple[Record, bool]:
        added = transitions.resend(record, name, channel, now=epoch_ms(utc_now()))
        return added or record, added is not None

    _, added = requests(table).change(request_id, again)
    assert added
    return name


def item_of(table: Any, request_id: str) -> dict[str, Any]:  # noqa: ANN401
    """The item that contains the record."""
    found: dict[str, Any] = table.get_item(Key={"pk": request_id, "sk": "RECORD"})["Item"]
    assert codec.record_of(found)
    return found
