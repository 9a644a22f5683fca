"""Tests the table's items: which writes change them, and the result of two simultaneous writers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import NoneType
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from botocore.exceptions import ReadTimeoutError

from assistance.domain import takes, transitions
from assistance.domain.record import End, Handled, Kind, Record, StandsInFor, Untaken
from assistance.domain.transitions import Claim, Refused
from assistance.errors import IdempotencyKeyReused, TableUnavailable, Unreadable
from assistance.models import AssistanceRequest
from assistance.platform.clock import epoch_ms
from assistance.routing import Topic
from assistance.store import codec
from assistance.store.requests import RequestGone, Requests, fresh, request_key
from assistance.store.schema import DUE_AT, DUE_SHARD, INDEX_SHARDS, OUTBOX_SHARD, Due, shard
from assistance.store.table import Items
from tests.integration.cloud import cloud
from tests.records import ROUTE, item_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = "2026-01-01T12:00:00.000Z"
CREATED = "2026-01-01T11:59:00.000Z"
RETENTION = timedelta(days=90)
MS = epoch_ms(NOW)


@pytest.fixture(scope="module")
def table() -> Iterator[Any]:
    with cloud("http://slack.invalid/") as running:
        yield running.table


@pytest.fixture
def requests(table: Any) -> Requests:  # noqa: ANN401
    return Requests(Items(table), lambda: NOW)


def later(requests: Requests, by: timedelta = RETENTION) -> Requests:
    """Requests in the same table, with a clock that is ahead by `by`."""
    return replace(requests, clock=lambda: NOW + by)


def request(created_at: str = CREATED, **about: Any) -> AssistanceRequest:  # noqa: ANN401
    members = {"id": str(uuid4()), "topic": Topic.SALES, "description": "help", "created_at": created_at, **about}
    return AssistanceRequest.model_validate(members)


def accepted(requests: Requests, created_at: str = CREATED) -> AssistanceRequest:
    return requests.accept(request(created_at), payload_hash="hash", retention=RETENTION)[0]


def item(requests: Requests, request_id: str) -> dict[str, Any]:
    found = requests.items.get(request_key(request_id))
    assert found
    return dict(found)


def claimed(record: Record, attempt: str = "attempt") -> tuple[Record, Claim | Refused]:
    return transitions.claim(record, "slack", attempt, now=MS, until=MS + 1_000, limit=3)


def unchanged(event: Callable[..., Record], *facts: Any, **more: Any) -> Callable[[Record], tuple[Record, None]]:  # noqa: ANN401
    """An argument for `Requests.change`: applies the transition `event` with these arguments, and gives no answer."""
    return lambda record: (event(record, *facts, **more), None)


@contextmanager
def refusing() -> Iterator[None]:
    """Make every DynamoDB call fail without a response."""
    lost = ReadTimeoutError(endpoint_url="dynamodb")
    with patch("botocore.client.BaseClient._make_api_call", side_effect=lost):
        yield


@contextmanager
def recorded(requests: Requests) -> Iterator[list[dict[str, Any]]]:
    """The parameters of the DynamoDB calls within the context."""
    calls: list[dict[str, Any]] = []

    def record(params: dict[str, Any], **_: object) -> None:
        calls.append(params)

    events = requests.items.table.meta.client.meta.events
    events.register("provide-client-params.dynamodb", record)
    yield calls
    events.unregister("provide-client-params.dynamodb", record)


# Accepting


def test_accepting_a_request_stores_the_request_and_its_outbox_entry_in_one_write(requests: Requests) -> None:
    one = request()
    with recorded(requests) as calls:
        assert requests.accept(one, payload_hash="hash", retention=RETENTION) == (one, False)
    assert len(calls) == 1
    assert item(requests, one.id) == {
        **request_key(one.id),
        "topic": "sales",
        "description": "help",
        "created_at": CREATED,
        "payload_hash": "hash",
        "ttl": int((datetime.fromisoformat(CREATED) + RETENTION).timestamp()),
        "channels": ["slack"],
        "fallback_channel": "email",
        "outbox_channels": ["slack"],
        "outbox": shard(one.id),
        "ledger": shard(one.id),
    }


def test_accepting_an_existing_request_id_again_returns_the_first_request(requests: Requests) -> None:
    one = accepted(requests)
    again = one.model_copy(update={"created_at": AT})
    assert requests.accept(again, payload_hash="hash", retention=RETENTION) == (one, True)
    with pytest.raises(IdempotencyKeyReused):
        requests.accept(again, payload_hash="another", retention=RETENTION)


def test_a_request_id_reused_after_its_request_expired_creates_a_new_request(requests: Requests) -> None:
    one = accepted(requests)
    requests.change(one.id, claimed)
    after = later(requests)
    new = one.model_copy(update={"created_at": "2026-04-01T12:00:00.000Z", "description": "another question"})
    assert after.accept(new, payload_hash="another", retention=RETENTION) == (new, False)
    assert item(after, one.id)["description"] == "another question"
    # DynamoDB may keep the expired record for days.
    stored = after.read(one.id)
    assert (stored.record.created_at, stored.record.deliveries[0].attempts) == (
        epoch_ms(datetime.fromisoformat(new.created_at)),
        (),
    )
    _, answer = after.change(one.id, claimed)
    assert isinstance(answer, Claim)
    assert answer.number == 1


def test_a_write_for_an_expired_request_does_not_change_a_later_request_with_the_same_id(requests: Requests) -> None:
    one = accepted(requests)
    old = requests.read(one.id)
    after = later(requests)
    after.accept(one.model_copy(update={"created_at": AT}), payload_hash="hash", retention=RETENTION)
    after.change(one.id, claimed)
    kept = item_of(requests.items.table, one.id)
    with pytest.raises(RequestGone):
        requests.change(one.id, partial(claimed, attempt="late"), old)
    assert item_of(requests.items.table, one.id) == kept


def test_an_expired_request_counts_as_absent_even_before_dynamodb_deletes_it(requests: Requests) -> None:
    one = accepted(requests)
    requests.change(one.id, claimed)
    after = later(requests)
    assert requests.get(one.id)
    assert after.get(one.id) is None
    with pytest.raises(RequestGone):
        after.read(one.id)
    with pytest.raises(RequestGone):
        after.change(one.id, claimed)


def test_a_delivery_record_without_its_request_item_counts_as_absent(requests: Requests) -> None:
    one = accepted(requests)
    requests.change(one.id, claimed)
    requests.items.table.delete_item(Key=request_key(one.id))
    assert requests.get(one.id) is None
    with pytest.raises(RequestGone):
        requests.change(one.id, claimed)


# Reading


def test_requests_are_read_with_strong_consistency_when_they_are_shown_or_published(requests: Requests) -> None:
    one = accepted(requests)
    with recorded(requests) as calls:
        requests.get(one.id)
        requests.items.get(request_key(one.id))
        requests.items.many([request_key(one.id)], consistent=True)
    query, get, batch = calls
    assert (query["ConsistentRead"], get["ConsistentRead"]) == (True, True)
    assert batch["RequestItems"]["table"]["ConsistentRead"] is True


def test_reading_a_request_returns_the_request_and_its_delivery_record(requests: Requests) -> None:
    one = accepted(requests)
    shown = requests.get(one.id)
    assert shown
    assert (shown.request, shown.published_at, shown.unpublished, shown.deliveries) == (one, None, True, ())
    requests.items.mark_published(request_key(one.id), ["slack"], AT)
    requests.change(one.id, claimed)
    shown = requests.get(one.id)
    assert shown
    assert (shown.published_at, shown.unpublished, shown.status) == (AT, False, "sending")


def test_a_published_request_has_status_published_before_the_first_attempt(requests: Requests) -> None:
    one = accepted(requests)
    requests.change(one.id, claimed)
    # The consumer started before the request was marked as published.
    requests.items.mark_published(request_key(one.id), ["slack"], "9998-01-01T00:00:00.000Z")
    shown = requests.get(one.id)
    assert shown
    assert shown.published_at == shown.deliveries[0].first_attempt_at


# Changing


def test_locking_a_delivery_for_its_first_attempt_makes_one_write_and_no_read(requests: Requests) -> None:
    one = accepted(requests)
    stored = requests.read(one.id)
    with recorded(requests) as calls:
        after, answer = requests.change(one.id, claimed, stored)
    assert isinstance(answer, Claim)
    assert len(calls) == 1
    assert (after.record.version, requests.read(one.id).record) == (1, after.record)


def test_an_event_that_changes_nothing_writes_nothing(requests: Requests) -> None:
    one = accepted(requests)
    requests.change(one.id, claimed)
    stored = requests.read(one.id)
    with recorded(requests) as calls:
        _, answer = requests.change(one.id, partial(claimed, attempt="other"), stored)
    assert answer is Refused.BUSY
    assert calls == []


@pytest.mark.parametrize("before", ["nothing", "a record"])
def test_the_second_of_two_simultaneous_writers_keeps_the_change_of_the_first(requests: Requests, before: str) -> None:
    one = accepted(requests)
    if before == "a record":
        requests.change(one.id, unchanged(transitions.watch))
    stale = requests.read(one.id)
    _, won = requests.change(one.id, partial(claimed, attempt="first"), stale)
    assert isinstance(won, Claim)
    _, lost = requests.change(one.id, partial(claimed, attempt="second"), stale)
    assert lost is Refused.BUSY
    after, _ = requests.change(one.id, unchanged(transitions.sent, "slack", "second", "ts", now=MS), stale)
    outcomes = {attempt.id: attempt.outcome for attempt in after.record.deliveries[0].attempts}
    assert outcomes == {"first": "unknown", "second": "delivered"}, "a message that was sent is never dropped"
    assert requests.read(one.id).record == after.record


def test_the_reconciler_does_not_set_a_request_to_failed_that_was_delivered_after_the_reconciler_read_it(
    requests: Requests,
) -> None:
    one = accepted(requests)
    old, _ = requests.change(one.id, claimed)
    delivered, _ = requests.change(one.id, unchanged(transitions.sent, "slack", "attempt", "ts", now=MS))
    dead = unchanged(transitions.dead_lettered, "slack", "letter", "dead_lettered", now=MS + 9_000)
    after, _ = requests.change(one.id, dead, old)
    assert after.record.status == delivered.record.status == "delivered"


def test_a_write_that_conflicts_at_every_retry_raises_table_unavailable(requests: Requests) -> None:
    one = accepted(requests)

    def overtaken(record: Record) -> tuple[Record, None]:
        kept = item_of(requests.items.table, one.id)
        requests.items.table.put_item(Item={**kept, "version": record.version + 1})
        return replace(record, watched=not record.watched), None

    requests.change(one.id, claimed)
    with pytest.raises(TableUnavailable, match="conflict"):
        requests.change(one.id, overtaken)


# The codec


def full() -> Record:
    """A record with a delivery of each kind, except an escalation."""
    one = request(callback_url="https://bot.example.com/hook")
    record, _ = claimed(fresh(one, ROUTE, 7_000_000_000))
    record = transitions.gave_up(record, "slack", "attempt", "down", now=MS, in_doubt=True, settles=MS + 30)
    record, _ = transitions.claim(record, "fallback", "second", now=MS + 31, until=MS + 40, limit=3)
    record = transitions.sent(record, "fallback", "second", "mail", now=MS + 32)
    record = transitions.returned(record, "mail", "bounce_permanent", now=MS + 33)
    record = transitions.confirmed(record, "mail", at=MS + 34)
    again = transitions.resend(record, "resend-by hand", "slack", now=MS + 35)
    assert again
    taken, _ = takes.take(again, "take", by="Anna", via="slack", now=MS + 36)
    return replace(takes.release(taken, "take", by="Anna", via="slack", now=MS + 37), version=1)


def escalated() -> Record:
    """The record of a request that is sent to its fallback because nobody has taken it in time."""
    record = replace(fresh(request(), ROUTE, 7_000_000_000), escalate_at=MS)
    return replace(takes.escalate(transitions.sent(record, "slack", "a", "ts", now=MS), now=MS), version=1)


def test_a_delivery_record_read_from_the_table_equals_the_one_that_was_written(requests: Requests) -> None:
    kinds = {each.kind for record in (full(), escalated()) for each in record.deliveries}
    assert kinds == set(Kind)
    causes = {type(each.cause) for record in (full(), escalated()) for each in record.deliveries}
    assert causes == {StandsInFor, End, Handled, Untaken, NoneType}
    for written in (full(), escalated()):
        id_ = str(uuid4())
        assert requests.items.add(codec.item_of(id_, written, {})) is None
        assert codec.record_of(item_of(requests.items.table, id_)) == written


def test_a_delivery_record_without_takes_has_no_attribute_for_takes() -> None:
    record, _ = claimed(fresh(request(), ROUTE, 7_000_000_000))
    document = codec.item_of("id", transitions.sent(record, "slack", "attempt", "ts", now=MS), {})["record"]
    assert document.keys() == {"topic", "created_at", "ttl", "channels", "fallback", "deliveries"}


def test_changing_a_delivery_record_keeps_attributes_that_a_later_version_has_added(requests: Requests) -> None:
    """If this version dropped them, a rollback from the later version would lose data."""
    one = accepted(requests)
    requests.change(one.id, claimed)
    kept = item_of(requests.items.table, one.id)
    kept["new"] = {"of": "the item"}
    kept["record"]["new"] = "of the record"
    kept["record"]["deliveries"][0]["new"] = ["of the delivery"]
    kept["record"]["deliveries"][0]["attempts"][0]["new"] = 5
    kept["record"]["takes"] = [{"id": "take", "by": "Anna", "via": "slack", "at": MS, "new": "of the take"}]
    requests.items.table.put_item(Item=kept)
    requests.change(one.id, unchanged(transitions.sent, "slack", "attempt", "ts", now=MS))
    requests.change(one.id, unchanged(transitions.watch))
    after = item_of(requests.items.table, one.id)
    delivery = after["record"]["deliveries"][0]
    assert (after["new"], after["record"]["new"]) == ({"of": "the item"}, "of the record")
    assert (delivery["new"], delivery["attempts"][0]["new"]) == (["of the delivery"], 5)
    assert delivery["attempts"][0]["outcome"] == "delivered"
    assert after["record"]["takes"][0]["new"] == "of the take"


def test_a_delivery_record_is_in_the_due_or_outbox_index_only_while_it_is_due_or_unpublished(
    requests: Requests,
) -> None:
    one = accepted(requests)
    indexes = {OUTBOX_SHARD, DUE_SHARD, DUE_AT}

    def listed(event: Callable[[Record], tuple[Record, Any]]) -> set[str]:
        requests.change(one.id, event)
        return indexes & item_of(requests.items.table, one.id).keys()

    assert listed(claimed) == set()
    assert listed(unchanged(transitions.watch)) == {DUE_SHARD, DUE_AT}
    assert item_of(requests.items.table, one.id)[DUE_AT] == MS + 1_000, "when the claim ends"
    failed = unchanged(transitions.gave_up, "slack", "attempt", "down", now=MS, in_doubt=False, settles=0)
    assert listed(failed) == indexes
    assert listed(lambda record: (transitions.published(record, record.outbox, now=MS), None)) == {DUE_SHARD, DUE_AT}
    assert listed(unchanged(transitions.sent, "fallback", "second", "mail", now=MS)) == set()


@pytest.mark.parametrize("time", [-1, 10**17])
def test_a_delivery_record_with_an_invalid_time_is_unreadable(time: int) -> None:
    documents = [codec.item_of("id", full(), {}) for _ in range(3)]
    documents[0]["record"]["deliveries"][0]["attempts"][0]["at"] = time
    documents[1]["record"]["takes"][0]["released_at"] = time
    documents[2]["record"]["escalate_at"] = time
    for kept in documents:
        with pytest.raises(Unreadable):
            codec.record_of(kept)


# The outbox


def test_a_published_entry_is_removed_from_the_outbox(requests: Requests) -> None:
    one = accepted(requests)
    before = item(requests, one.id)
    requests.items.mark_published(request_key(one.id), ["email"], AT)
    assert item(requests, one.id) == before, "it is in there for another channel"
    requests.items.mark_published(request_key(one.id), ["slack"], AT)
    published = {name: value for name, value in before.items() if name not in {"outbox", "outbox_channels"}}
    assert item(requests, one.id) == {**published, "published_at": AT}
    requests.items.mark_published(request_key("unknown"), ["slack"], AT)
    assert requests.items.get(request_key("unknown")) is None


def test_no_query_is_made_for_a_period_that_ends_before_it_begins(requests: Requests) -> None:
    """DynamoDB refuses such a query with a `ValidationException`, moto does not."""
    accepted(requests)
    with patch.object(requests.items.table, "query", side_effect=AssertionError):
        assert list(requests.items.accepted(AT, CREATED)) == []
    assert list(requests.items.accepted(CREATED, CREATED))


def test_the_outbox_lists_entries_older_than_a_time_in_order_across_all_shards_and_pages(requests: Requests) -> None:
    times = [f"2025-01-01T00:00:{number:02}.000Z" for number in range(30)]
    ids = [accepted(requests, created_at).id for created_at in times]
    assert len({shard(one) for one in ids}) > 1
    assert all(0 <= shard(one) < INDEX_SHARDS for one in ids)

    def listed() -> list[str]:
        return [str(each["pk"]) for each in requests.items.unpublished("2025-01-01T00:00:25.000Z")]

    assert listed() == ids[:25]

    def in_pages_of_one(params: dict[str, Any], **_: object) -> None:
        params["Limit"] = 1

    events = requests.items.table.meta.client.meta.events
    events.register("provide-client-params.dynamodb.Query", in_pages_of_one)
    assert listed() == ids[:25]
    events.unregister("provide-client-params.dynamodb.Query", in_pages_of_one)


@pytest.mark.parametrize(
    "ask",
    [
        lambda requests: requests.accept(request(), payload_hash="hash", retention=RETENTION),
        lambda requests: requests.get("id"),
        lambda requests: requests.read("id"),
        lambda requests: requests.change("id", claimed),
        lambda requests: requests.items.get(request_key("id")),
        lambda requests: requests.items.many([request_key("id")], consistent=False),
        lambda requests: requests.items.mark_published(request_key("id"), ["slack"], AT),
        lambda requests: list(requests.items.unpublished(AT)),
        lambda requests: list(requests.items.accepted(CREATED, AT)),
        lambda requests: list(requests.items.due(Due.OPEN)),
        lambda requests: requests.items.put(request_key("id")),
        lambda requests: requests.items.store_progress_for_version_1(AT, AT),
        lambda requests: requests.items.of("id"),
    ],
)
def test_a_dynamodb_call_without_a_response_raises_table_unavailable(
    requests: Requests, ask: Callable[[Requests], object]
) -> None:
    with refusing(), pytest.raises(TableUnavailable, match=r"^ReadTimeoutError$"):
        ask(requests)
