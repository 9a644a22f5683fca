"""Tests the publisher: exactly the outbox entries that SNS accepts are removed from the outbox."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, cast
from uuid import uuid4

import pytest
from botocore.exceptions import ReadTimeoutError

from assistance.domain import transitions
from assistance.domain.record import Attempt, Outcome, Record
from assistance.engine.publisher import Publisher
from assistance.errors import TableUnavailable
from assistance.models import AssistanceRequest, Message
from assistance.platform.clock import timestamp, utc_now
from assistance.store import codec
from assistance.store.items import Item
from assistance.store.requests import Requests, record_key, request_key
from assistance.store.schema import OUTBOX_SHARD
from assistance.store.table import Items
from tests.integration.cloud import cloud
from tests.records import item_of, put_delivery, record_of, resend


@pytest.fixture(scope="module")
def table() -> Iterator[Any]:
    with cloud("http://slack.invalid/") as running:
        yield running.table


@dataclass
class Topics:
    """A fake SNS client. `refused`: the numbers of entries that it refuses. `lost`: its responses get lost."""

    refused: tuple[int, ...] = ()
    lost: bool = False
    batches: list[Any] = field(default_factory=list)

    def publish_batch(self, **call: Any) -> dict[str, Any]:  # noqa: ANN401
        self.batches.append(call)
        if self.lost:
            raise ReadTimeoutError(endpoint_url="sns")
        ids = [entry["Id"] for entry in call["PublishBatchRequestEntries"]]
        answer = {
            "Successful": [{"Id": one} for one in ids if int(one) not in self.refused],
            "Failed": [{"Id": one, "Code": "InternalError"} for one in ids if int(one) in self.refused],
        }
        return {name: entries for name, entries in answer.items() if entries}


def accepted(table: Any, description: str = "help") -> str:  # noqa: ANN401
    one = AssistanceRequest(id=str(uuid4()), topic="sales", description=description, created_at=timestamp(utc_now()))
    return Requests(Items(table)).accept(one, payload_hash="hash", retention=timedelta(days=1))[0].id


def publish(table: Any, sns: Topics, ids: list[str], sort_key: str = "REQUEST") -> set[str]:  # noqa: ANN401
    """Publish the outbox entries of these requests' items. Returns the ids of requests with an unpublished entry."""
    publisher = Publisher(cast(Any, sns), "topic", Requests(Items(table)))
    items = [table.get_item(Key={"pk": id_, "sk": sort_key})["Item"] for id_ in ids]
    return {each.message.request.id for each in publisher.publish([publisher.read(item) for item in items])}


def is_unpublished(table: Any, request_id: str) -> bool:  # noqa: ANN401
    return OUTBOX_SHARD in table.get_item(Key=request_key(request_id))["Item"]


@contextmanager
def refusing(table: Any) -> Iterator[None]:  # noqa: ANN401
    """Make DynamoDB refuse every write."""

    def refuse(**_: object) -> None:
        raise ReadTimeoutError(endpoint_url="dynamodb")

    events = table.meta.client.meta.events
    for operation in ("PutItem", "UpdateItem"):
        events.register(f"provide-client-params.dynamodb.{operation}", refuse)
    yield
    for operation in ("PutItem", "UpdateItem"):
        events.unregister(f"provide-client-params.dynamodb.{operation}", refuse)


def delivered(table: Any) -> str:  # noqa: ANN401
    """A delivered request, which can be resent."""
    one = accepted(table)
    put_delivery(table, one, "slack", attempts=(Attempt("attempt", 1, Outcome.DELIVERED, ended_at=1),))
    return one


def test_outbox_entries_accepted_by_sns_are_removed_and_refused_entries_stay_in_the_outbox(table: Any) -> None:  # noqa: ANN401
    first, second, third = ids = [accepted(table) for _ in range(3)]
    sns = Topics(refused=(1,))
    assert publish(table, sns, ids) == {second}
    assert [is_unpublished(table, each) for each in (first, second, third)] == [False, True, False]
    [call] = sns.batches
    assert call["TopicArn"] == "topic"
    assert [entry["Id"] for entry in call["PublishBatchRequestEntries"]] == ["0", "1", "2"]
    assert publish(table, Topics(), [second]) == set()
    assert not is_unpublished(table, second)


def test_outbox_entries_missing_from_the_sns_response_stay_in_the_outbox(table: Any) -> None:  # noqa: ANN401
    one = accepted(table)
    assert publish(table, Topics(lost=True), [one]) == {one}
    assert is_unpublished(table, one)


def test_an_outbox_entry_that_was_published_but_cannot_be_marked_counts_as_published(table: Any) -> None:  # noqa: ANN401
    one = accepted(table)
    resend(table, one, "email")
    with refusing(table):
        assert publish(table, Topics(), [one]) == set()
        assert publish(table, Topics(), [one], "RECORD") == set()
    assert is_unpublished(table, one)
    assert record_of(table, one).outbox


def test_a_published_message_has_its_channels_and_topic_as_attributes_and_an_ascii_body(table: Any) -> None:  # noqa: ANN401
    sns = Topics()
    publish(table, sns, [accepted(table, "ça \ufffe")])
    [entry] = sns.batches[0]["PublishBatchRequestEntries"]
    assert entry["Message"].isascii()
    assert entry["MessageAttributes"] == {
        "channels": {"DataType": "String.Array", "StringValue": '["slack"]'},
        "topic": {"DataType": "String", "StringValue": "sales"},
    }


def test_each_outbox_entry_of_a_delivery_record_is_published_and_removed_separately(table: Any) -> None:  # noqa: ANN401
    one = delivered(table)
    names = [resend(table, one, channel) for channel in ("slack", "email")]
    sns = Topics(refused=(0,))
    assert publish(table, sns, [one], "RECORD") == {one}
    entries = sns.batches[0]["PublishBatchRequestEntries"]
    assert [Message.model_validate_json(entry["Message"]).delivery for entry in entries] == names
    told = [entry["MessageAttributes"]["channels"]["StringValue"] for entry in entries]
    assert told == ['["slack"]', '["email"]']
    assert [entry.delivery for entry in record_of(table, one).outbox] == names[:1]
    assert publish(table, Topics(), [one], "RECORD") == set()
    assert OUTBOX_SHARD not in item_of(table, one)


def test_an_outbox_entry_added_again_during_its_publication_stays_in_the_outbox(table: Any) -> None:  # noqa: ANN401
    one = delivered(table)
    name = resend(table, one, "slack")
    again = partial(transitions.publish, name=name, now=1)

    class Meanwhile(Topics):
        def publish_batch(self, **call: Any) -> dict[str, Any]:  # noqa: ANN401
            Requests(Items(table)).change(one, lambda record: (again(record), None))
            return super().publish_batch(**call)

    assert publish(table, Meanwhile(), [one], "RECORD") == set()
    assert [entry.since for entry in record_of(table, one).outbox] == [1]


def written(table: Any, request_id: str) -> Record:  # noqa: ANN401
    return codec.record_of(table.get_item(Key=record_key(request_id))["Item"])


def late(table: Any, items: Items | None = None) -> Publisher:  # noqa: ANN401
    return Publisher(cast(Any, Topics()), "topic", Requests(items or Items(table)))


def test_a_request_published_late_is_expected_from_its_publication_and_keeps_what_a_consumer_has_recorded_meanwhile(
    table: Any,  # noqa: ANN401
) -> None:
    new, watched, tried = (accepted(table) for _ in range(3))
    Requests(Items(table)).update(watched, transitions.watch)
    Requests(Items(table)).update(tried, transitions.watch)
    sent = (Attempt("one", 1, Outcome.DELIVERED, ended_at=2, result="ts"),)

    class Overtaken(Items):
        def many(self, keys: Sequence[dict[str, str]], **how: Any) -> list[Item]:  # noqa: ANN401
            read = super().many(keys, **how)
            assert {item["pk"] for item in read} == {watched, tried}
            put_delivery(table, tried, "slack", attempts=sent)
            return read

    publisher = late(table, Overtaken(table))
    items = [table.get_item(Key=request_key(id_))["Item"] for id_ in (new, watched, tried)]
    assert publisher.publish([publisher.read(item) for item in items], checked_until="") == set()
    assert not any(is_unpublished(table, id_) for id_ in (new, watched, tried))
    computed = Requests(Items(table)).read(new).record
    assert computed.version == 0
    assert record_of(table, tried).deliveries[0].attempts == sent
    assert min(one.deliveries[0].due_at or 0 for one in (computed, written(table, watched))) > computed.created_at


def test_a_request_published_late_is_expected_from_its_publication_although_its_record_is_not_read_in_a_batch(
    table: Any,  # noqa: ANN401
) -> None:
    one = accepted(table)
    Requests(Items(table)).update(one, transitions.watch)

    class Failing(Items):
        def many(self, *_: Any, **__: Any) -> list[Item]:  # noqa: ANN401
            raise TableUnavailable("unprocessed")

    publisher = late(table, Failing(table))
    item = table.get_item(Key=request_key(one))["Item"]
    assert publisher.publish([publisher.read(item)], checked_until="") == set()
    assert (is_unpublished(table, one), written(table, one).deliveries[0].due_at is None) == (False, False)


def test_a_request_that_version_1_published_hours_ago_is_expected_from_its_late_publication_and_watched(
    table: Any,  # noqa: ANN401
) -> None:
    """After a rollback, version 1 puts a request into the outbox again if it has no delivery."""
    one, ago = accepted(table), timestamp(utc_now() - timedelta(hours=5))
    item = table.get_item(Key=request_key(one))["Item"] | {"created_at": ago, "published_at": ago}
    table.put_item(Item=item)
    publisher = late(table)
    assert publisher.publish([publisher.read(item)], checked_until=timestamp(utc_now())) == set()
    record = record_of(table, one)
    assert (record.watched, (record.deliveries[0].due_at or 0) > record.created_at) == (True, True)


def test_an_outbox_entry_of_an_expired_request_is_not_published(table: Any) -> None:  # noqa: ANN401
    one = delivered(table)
    resend(table, one, "slack")
    table.delete_item(Key=request_key(one))
    sns = Topics()
    assert publish(table, sns, [one], "RECORD") == set()
    assert not sns.batches
