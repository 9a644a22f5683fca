"""Tests that the table in memory and moto's table behave the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws

from assistance.errors import Unreadable
from assistance.platform import aws
from assistance.store.items import key_of, plain
from assistance.store.schema import INDEX_SHARDS, LEDGER, OUTBOX_INDEX, Due
from assistance.store.table import BATCH, LEDGER_KEY, Items
from tests.integration.resources import create_table
from tests.memory_table import MOST_BYTES, MemoryTable
from tests.memory_table import table as in_memory

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stored:
    """A table, and a function that returns the new image of each of its stream records so far."""

    table: Any
    stream: Any

    @property
    def items(self) -> Items:
        return Items(self.table)


@pytest.fixture(params=["in memory", "moto"])
def stored(request: pytest.FixtureRequest) -> Iterator[Stored]:
    if request.param == "in memory":
        memory = MemoryTable(page=2)
        yield Stored(in_memory(memory), lambda: [_image(record) for record in memory.streamed(0)])
        return
    with mock_aws():
        arn = create_table().latest_stream_arn
        yield Stored(aws.table("table"), partial(_streamed_by_moto, arn))


@pytest.fixture
def items(stored: Stored) -> Items:
    return stored.items


def _image(record: Any) -> Any:  # noqa: ANN401
    return plain(record["dynamodb"]["NewImage"])


def _streamed_by_moto(arn: str) -> list[Any]:
    streams = boto3.client("dynamodbstreams")
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return [_image(record) for record in streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]]


def item(pk: str = "one", sk: str = "RECORD", **more: object) -> dict[str, Any]:
    return {"pk": pk, "sk": sk, **more}


def test_an_item_is_added_if_no_item_has_its_key(items: Items) -> None:
    assert items.add(item(version=1)) is None
    assert items.get({"pk": "one", "sk": "RECORD"}) == item(version=1)
    assert items.get({"pk": "one", "sk": "REQUEST"}) is None


def test_adding_an_existing_item_returns_it_and_leaves_it_unchanged(items: Items) -> None:
    items.add(item(version=1, ttl=100, record={"deliveries": [{"name": "slack", "alone": False}], "outbox": []}))
    before = items.get({"pk": "one", "sk": "RECORD"})
    assert items.add(item(version=9, ttl=200), expired_at=100) == before
    assert items.get({"pk": "one", "sk": "RECORD"}) == before


def test_an_expired_item_is_replaced_by_a_new_one(items: Items) -> None:
    items.add(item(ttl=100, version=1))
    assert items.add(item(ttl=200, version=2), expired_at=101) is None
    assert items.get({"pk": "one", "sk": "RECORD"}) == item(ttl=200, version=2)


def test_an_item_without_a_ttl_does_not_expire(items: Items) -> None:
    items.add(item())
    assert items.add(item(ttl=200), expired_at=101) == item()


def test_an_item_is_replaced_only_if_its_version_matches(items: Items) -> None:
    items.add(item(version=1))
    assert items.replace(item(version=2, topic="sales"), 1) is None
    assert items.replace(item(version=2, topic="pricing"), 1) == item(version=2, topic="sales")
    assert items.get({"pk": "one", "sk": "RECORD"}) == item(version=2, topic="sales")


def test_a_deleted_item_is_not_replaced(items: Items) -> None:
    assert items.replace(item(version=2), 1) == {}
    assert items.get({"pk": "one", "sk": "RECORD"}) is None


def test_numbers_are_read_as_decimals_and_tuples_as_lists(items: Items) -> None:
    items.add(item(version=1, channels=("slack", "email"), nested={"none": None, "times": (1, 2)}))
    found = items.get({"pk": "one", "sk": "RECORD"})
    assert found == item(version=1, channels=["slack", "email"], nested={"none": None, "times": [1, 2]})
    assert isinstance(found["version"], Decimal)


def test_changing_an_item_that_was_read_does_not_change_the_stored_one(items: Items) -> None:
    items.add(item(record={"deliveries": []}))
    for read in (items.get, lambda key: items.of(key["pk"])[0], lambda key: items.many([key], consistent=True)[0]):
        found: Any = read({"pk": "one", "sk": "RECORD"})
        found["record"]["deliveries"].append("more")
    assert items.get({"pk": "one", "sk": "RECORD"}) == item(record={"deliveries": []})


def test_the_items_of_a_request_are_read_in_the_order_of_their_keys(items: Items) -> None:
    for pk, sk in (("one", "REQUEST"), ("two", "RECORD"), ("one", "RECORD"), ("one", "DELIVERY#slack")):
        items.add(item(pk, sk))
    found = items.table.query(
        KeyConditionExpression="pk = :value", ExpressionAttributeValues={":value": "one"}, ConsistentRead=True
    )["Items"]
    assert [each["sk"] for each in found[:2]] == ["DELIVERY#slack", "RECORD"]
    assert {each["pk"] for each in items.of("one")} == {"one"}
    assert items.of("three") == []


def test_many_items_are_read_in_batches_without_the_missing_ones(items: Items) -> None:
    for number in range(BATCH + 5):
        items.add(item(str(number)))
    keys = [{"pk": str(number), "sk": "RECORD"} for number in range(BATCH + 10)]
    found = items.many(keys, consistent=True)
    assert sorted(each["pk"] for each in found) == sorted(str(number) for number in range(BATCH + 5))


def test_an_item_whose_key_is_asked_for_twice_is_read_once(items: Items) -> None:
    items.add(item("one"))
    assert items.many([{"pk": "one", "sk": "RECORD"}] * 2, consistent=False) == [item("one")]


def outboxed(pk: str, created_at: str, **more: object) -> dict[str, Any]:
    return item(pk, "REQUEST", outbox=0, ledger=0, created_at=created_at, topic="sales", **more)


def test_publishing_an_item_to_some_channels_keeps_its_outbox_entries_for_the_other_channels(items: Items) -> None:
    key = {"pk": "one", "sk": "REQUEST"}
    items.add(outboxed("one", "2026-03-01", outbox_channels=["slack"], outbox_since="2026-03-01"))
    items.mark_published(key, ["email"], "2026-03-02")
    assert [key_of(each) for each in items.unpublished("2026-03-09")] == [key]
    items.mark_published(key, ["slack"], "2026-03-02")
    assert list(items.unpublished("2026-03-09")) == []
    published = item("one", "REQUEST", ledger=0, created_at="2026-03-01", topic="sales", published_at="2026-03-02")
    assert items.get(key) == published


def test_publishing_an_item_again_keeps_the_time_of_the_first_publication(items: Items) -> None:
    again = outboxed("one", "2026-03-01", outbox_channels=["email"], published_at="2026-03-01")
    items.add(again)
    items.mark_published({"pk": "one", "sk": "REQUEST"}, ["email"], "2026-03-02")
    assert items.get({"pk": "one", "sk": "REQUEST"}) == item(
        "one", "REQUEST", ledger=0, created_at="2026-03-01", topic="sales", published_at="2026-03-01"
    )


def test_the_request_list_returns_pages_with_the_newest_requests_first(items: Items) -> None:
    for number in range(250):
        items.add(outboxed(f"pk{number}", f"2026-03-01T{number:03}") | {"ledger": number % 2})
    found = items.accepted("2026-03-01T010", "2026-03-01T240", newest_first=True)
    assert [each["pk"] for each in found] == [f"pk{number}" for number in range(240, 9, -1)]


def test_a_deleted_item_is_not_marked_as_published(items: Items) -> None:
    items.mark_published({"pk": "one", "sk": "REQUEST"}, ["slack"], "2026-03-02")
    assert items.of("one") == []


def test_the_outbox_index_lists_keys_in_pages_with_the_oldest_first(items: Items) -> None:
    for number in (3, 1, 4, 2, 5):
        items.add(outboxed(f"pk{number}", f"2026-03-0{number}"))
    assert list(items.unpublished("2026-03-05")) == [
        item(f"pk{number}", "REQUEST", outbox=0, created_at=f"2026-03-0{number}") for number in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(("limit", "counted"), [(1, 1), (2, 2), (3, 2)])
def test_a_scan_counts_the_entries_of_the_outbox_index_up_to_its_limit(
    stored: Stored, limit: int, counted: int
) -> None:
    stored.items.add(item("published", "REQUEST", created_at="2026-03-01"))
    for number in range(2):
        stored.items.add(outboxed(f"pk{number}", "2026-03-01"))
    scan = stored.table.meta.client.scan
    assert scan(TableName="table", IndexName=OUTBOX_INDEX, Select="COUNT", Limit=limit)["Count"] == counted


def test_the_index_of_accepted_requests_lists_those_of_a_period_with_their_topics(items: Items) -> None:
    for number in (3, 1, 4, 2):
        items.add(outboxed(f"pk{number}", f"2026-03-0{number}"))
    assert list(items.accepted("2026-03-02", "2026-03-03")) == [
        item(f"pk{number}", "REQUEST", ledger=0, created_at=f"2026-03-0{number}", topic="sales") for number in (2, 3)
    ]


def test_the_due_index_lists_exactly_the_due_delivery_records_with_all_their_attributes(items: Items) -> None:
    records = [item(str(number), due=number % INDEX_SHARDS, due_at=number, record={"n": number}) for number in range(5)]
    for record in (*records, item("done", record={})):
        items.add(record)
    assert sorted(items.due(Due.OPEN), key=lambda found: found["pk"]) == records


def test_an_item_above_dynamodbs_size_limit_is_refused_and_the_old_item_stays(items: Items) -> None:
    items.add(item("pk", version=1))
    for write in (items.replace, lambda large, _: items.add(large)):
        with pytest.raises(Unreadable, match="too large"):
            write(item("pk", version=2, text="x" * MOST_BYTES, ttl=0), 1)
    assert items.of("pk") == [item("pk", version=1)]


def test_the_item_of_version_1_holds_the_time_that_was_stored_last(items: Items) -> None:
    for since, until in (("2026-03-01", "2026-03-02"), ("2026-03-03", "2026-03-04")):
        items.store_progress_for_version_1(since, until)
    assert items.of(LEDGER) == [{**LEDGER_KEY, "looked_until": "2026-03-03", "until": "2026-03-04", "open": {}}]


def test_the_stream_contains_each_change_and_no_refused_write(stored: Stored) -> None:
    request = outboxed("one", "2026-03-01", outbox_channels=["slack"])
    stored.items.add(request)
    stored.items.add(request)
    stored.items.mark_published({"pk": "one", "sk": "REQUEST"}, ["slack"], "2026-03-02")
    stored.items.add(item(version=1))
    stored.items.replace(item(version=2), 1)
    published = item("one", "REQUEST", ledger=0, created_at="2026-03-01", topic="sales", published_at="2026-03-02")
    images = [request, published, item(version=1), item(version=2)]
    assert stored.stream() == images


def test_a_write_that_changes_nothing_is_not_in_the_stream() -> None:
    """Tested only in memory, since moto's stream contains such a write, unlike DynamoDB's.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html.
    """
    memory = MemoryTable()
    items = Items(in_memory(memory))
    items.add(item(version=1))
    items.replace(item(version=1), 1)
    assert len(memory.streamed(0)) == 1


def test_the_in_memory_table_refuses_dynamodb_expressions_that_it_does_not_implement() -> None:
    table = in_memory(MemoryTable())
    with pytest.raises(KeyError):
        table.put_item(Item=item(), ConditionExpression="version > :value", ExpressionAttributeValues={":value": 1})
