"""What is written about a request, by whom it may be changed, and what a reader is told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest.mock import patch
from uuid import uuid4

import pytest
from assistance.deliveries import (
    Condition,
    Failure,
    confirm,
    delivery_key,
    expiry,
    fail,
    request_key,
)
from assistance.items import delivery_of, message_for, outbox_entry_of, settled
from botocore.exceptions import ClientError, ReadTimeoutError

from assistance.engine.publisher import Publisher
from assistance.errors import IdempotencyKeyReused, TableUnavailable
from assistance.models import AssistanceRequest, Attempt, Delivery, Fallback, OutboxEntry, RequestRecord, Status
from assistance.routing import Channel, Topic
from assistance.store.requests import Requests
from assistance.store.schema import INDEX_SHARDS, OUTBOX_SHARD, shard
from tests.integration.cloud import cloud

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = "2026-01-01T12:00:00.000Z"
CREATED = "2026-01-01T11:59:00.000Z"
RETENTION = timedelta(days=90)
FALLBACK = Fallback(channel=Channel.EMAIL, failed_channel=Channel.SLACK, error="is_archived")


@pytest.fixture(scope="module")
def table() -> Iterator[Any]:
    with cloud("http://slack.invalid/") as running:
        yield running.table


@pytest.fixture
def requests(table: Any) -> Requests:  # noqa: ANN401
    return Requests(table, lambda: NOW)


def request(created_at: str = CREATED) -> AssistanceRequest:
    return AssistanceRequest(id=str(uuid4()), topic=Topic.SALES, description="help", created_at=created_at)


def accepted(requests: Requests, created_at: str = CREATED) -> AssistanceRequest:
    return requests.accept(request(created_at), payload_hash="hash", retention=RETENTION).request


def item(requests: Requests, request_id: str) -> dict[str, Any]:
    return cast(dict[str, Any], requests.table.get_item(Key=request_key(request_id))["Item"])


def put(requests: Requests, request_id: str, **attributes: Any) -> None:  # noqa: ANN401
    requests.table.put_item(Item={**delivery_key(request_id, Channel.SLACK), **attributes})


@contextmanager
def refusing() -> Iterator[None]:
    """DynamoDB answers nothing."""
    lost = ReadTimeoutError(endpoint_url="dynamodb")
    with patch("botocore.client.BaseClient._make_api_call", side_effect=lost):
        yield


@contextmanager
def recorded(requests: Requests) -> Iterator[list[dict[str, Any]]]:
    """The parameters of the calls made meanwhile."""
    calls: list[dict[str, Any]] = []

    def record(params: dict[str, Any], **_: object) -> None:
        calls.append(params)

    events = requests.table.meta.client.meta.events
    events.register("provide-client-params.dynamodb", record)
    yield calls
    events.unregister("provide-client-params.dynamodb", record)


def test_accepting_writes_the_request_and_its_outbox_entry_at_once(requests: Requests) -> None:
    one = request()
    with recorded(requests) as calls:
        assert not requests.accept(one, payload_hash="hash", retention=RETENTION).replayed
    assert len(calls) == 1
    assert item(requests, one.id) == {
        **request_key(one.id),
        "topic": "sales",
        "description": "help",
        "created_at": CREATED,
        "payload_hash": "hash",
        "ttl": int((datetime.fromisoformat(CREATED) + RETENTION).timestamp()),
        "channels": ["slack"],
        "outbox_channels": ["slack"],
        "outbox": shard(one.id),
        "ledger": shard(one.id),
    }


def test_a_replay_is_answered_with_what_was_accepted_at_first(requests: Requests) -> None:
    one = accepted(requests)
    again = one.model_copy(update={"created_at": AT})
    replay = requests.accept(again, payload_hash="hash", retention=RETENTION)
    assert (replay.request, replay.replayed) == (one, True)
    with pytest.raises(IdempotencyKeyReused):
        requests.accept(again, payload_hash="another", retention=RETENTION)


def test_what_is_shown_and_what_is_published_is_read_consistently(requests: Requests) -> None:
    one = accepted(requests)
    with recorded(requests) as calls:
        requests.get(one.id)
        requests.outbox_entries([request_key(one.id)])
    [query, batch] = calls
    assert query["ConsistentRead"] is True
    assert batch["RequestItems"]["table"]["ConsistentRead"] is True


def test_a_request_is_told_with_all_that_became_of_it(requests: Requests) -> None:
    one = accepted(requests)
    plain = RequestRecord(one, (Channel.SLACK,), published_at=None, deliveries=(), in_outbox=True)
    assert requests.get(one.id) == plain
    requests.mark_published(OutboxEntry(one, (Channel.SLACK,)))
    put(requests, one.id, status="retrying", attempts=1)
    requests.table.update_item(
        Key=request_key(one.id),
        UpdateExpression="SET fallback = :fallback",
        ExpressionAttributeValues={":fallback": FALLBACK.model_dump(mode="json")},
    )
    delivery = Delivery(Channel.SLACK, Status.RETRYING, attempts=1)
    assert requests.get(one.id) == RequestRecord(one, (Channel.SLACK,), AT, (delivery,), fallback=FALLBACK)


def test_deliveries_without_a_request_are_no_request(requests: Requests) -> None:
    put(requests, "gone", status="delivered")
    assert requests.get("gone") is None


def test_an_entry_leaves_the_outbox_once_it_is_published_unless_it_has_re_entered(requests: Requests) -> None:
    one = accepted(requests)
    before = item(requests, one.id)
    requests.mark_published(OutboxEntry(one, (Channel.EMAIL,)))
    assert item(requests, one.id) == before, "it is in there for another channel"
    requests.mark_published(OutboxEntry(one, (Channel.SLACK,)))
    published = {name: value for name, value in before.items() if name not in {"outbox", "outbox_channels"}}
    assert item(requests, one.id) == {**published, "published_at": AT}


def test_what_is_lost_re_enters_the_outbox_for_its_channel_and_no_other(requests: Requests) -> None:
    one = accepted(requests)
    before = item(requests, one.id)
    requests.publish_again(one.id, [Channel.EMAIL])
    assert item(requests, one.id) == before, "it is in there"
    requests.mark_published(OutboxEntry(one, (Channel.SLACK,)))
    published = item(requests, one.id)
    requests.publish_again(one.id, [Channel.EMAIL])
    again = {"outbox": shard(one.id), "outbox_channels": ["email"], "outbox_since": AT}
    assert item(requests, one.id) == {**published, **again}
    assert [outbox_entry_of(entry).entered_at for entry in requests.outbox_entries([request_key(one.id)])] == [AT]
    requests.mark_published(OutboxEntry(one, (Channel.EMAIL,), since=CREATED))
    assert item(requests, one.id) == {**published, **again}, "it was published for an earlier entry"
    requests.mark_published(OutboxEntry(one, (Channel.EMAIL,), since=AT))
    assert item(requests, one.id) == published
    assert requests.outbox_entries([request_key(one.id)]) == []
    requests.publish_again("unknown", [Channel.EMAIL])
    assert "Item" not in requests.table.get_item(Key=request_key("unknown"))


def test_the_outbox_lists_what_is_older_in_order_over_all_shards_and_pages(requests: Requests) -> None:
    times = [f"2025-01-01T00:00:{number:02}.000Z" for number in range(30)]
    ids = [accepted(requests, created_at).id for created_at in times]
    assert len({shard(one) for one in ids}) > 1
    assert all(0 <= shard(one) < INDEX_SHARDS for one in ids)
    cut = datetime(2025, 1, 1, 0, 0, 25, tzinfo=UTC)
    assert list(requests.unpublished(cut)) == [request_key(one) for one in ids[:25]]

    def in_pages_of_one(params: dict[str, Any], **_: object) -> None:
        params["Limit"] = 1

    events = requests.table.meta.client.meta.events
    events.register("provide-client-params.dynamodb.Query", in_pages_of_one)
    assert list(requests.unpublished(cut)) == [request_key(one) for one in ids[:25]]
    events.unregister("provide-client-params.dynamodb.Query", in_pages_of_one)


@pytest.mark.parametrize(
    "ask",
    [
        lambda requests: requests.accept(request(), payload_hash="hash", retention=RETENTION),
        lambda requests: requests.get("id"),
        lambda requests: requests.publish_again("id", [Channel.SLACK]),
        lambda requests: requests.mark_published(OutboxEntry(request(), (Channel.SLACK,))),
        lambda requests: list(requests.unpublished(NOW)),
        lambda requests: requests.outbox_entries([request_key("id")]),
    ],
)
def test_a_table_that_does_not_answer_is_told_from_everything_else(
    requests: Requests, ask: Callable[[Requests], object]
) -> None:
    with refusing(), pytest.raises(TableUnavailable, match=r"^ReadTimeoutError$"):
        ask(requests)


def test_a_message_names_its_fallback_on_the_fallbacks_channel_only(requests: Requests) -> None:
    stored = {**item(requests, accepted(requests).id), "fallback": FALLBACK.model_dump(mode="json")}
    assert message_for(stored, Channel.EMAIL).fallback == FALLBACK
    assert message_for(stored, Channel.SLACK).fallback is None
    assert outbox_entry_of(stored).fallback is None
    assert outbox_entry_of({**stored, "outbox_channels": ["email"]}).fallback == FALLBACK
    assert outbox_entry_of(stored).entered_at == CREATED


# Deliveries


ALWAYS = Condition("attribute_not_exists(nothing)", {}, {})
NEVER = Condition("attribute_exists(nothing)", {}, {})


def failure(one: AssistanceRequest, channel: Channel = Channel.SLACK, **about: Any) -> Failure:  # noqa: ANN401
    return Failure(
        **{
            "request": one,
            "channel": channel,
            "code": "bounced",
            "in_doubt": False,
            "at": AT,
            "ttl": 7,
            **about,
        }
    )


def test_a_failure_without_an_attempt_of_ours_is_told_in_the_timeline(requests: Requests) -> None:
    one = accepted(requests)
    assert fail(requests.table, failure(one), ALWAYS, entry="timeline")
    expected = {
        **delivery_key(one.id, Channel.SLACK),
        "status": "failed",
        "last_error": "bounced",
        "failed_at": AT,
        "in_doubt": False,
        "attempts": 0,
        "attempts_given_up": 0,
        "ttl": 7,
        "timeline": [{"at": AT, "outcome": "failed", "error": "bounced"}],
    }
    assert requests.table.get_item(Key=delivery_key(one.id, Channel.SLACK))["Item"] == expected
    assert item(requests, one.id)["outbox_channels"] == ["email"]


def test_a_failure_of_a_delivery_keeps_what_is_known_of_it(requests: Requests) -> None:
    one = accepted(requests)
    told = [{"at": CREATED, "outcome": "delivered"}]
    gone = {"claim_expires_at": 1, "next_attempt_at": AT, "delivered_at": CREATED}
    put(requests, one.id, status="delivered", attempts=2, ttl=99, timeline=told, result="ts", **gone)
    assert fail(requests.table, failure(one, in_doubt=True, not_before=5), ALWAYS, entry="timeline")
    assert requests.table.get_item(Key=delivery_key(one.id, Channel.SLACK))["Item"] == {
        **delivery_key(one.id, Channel.SLACK),
        "status": "failed",
        "last_error": "bounced",
        "failed_at": AT,
        "in_doubt": True,
        "attempts": 2,
        "attempts_given_up": 2,
        "not_before": 5,
        "ttl": 99,
        "result": "ts",
        "timeline": [*told, {"at": AT, "outcome": "failed", "error": "bounced"}],
    }


def test_a_failure_whose_condition_does_not_hold_writes_nothing(requests: Requests) -> None:
    one = accepted(requests)
    before = item(requests, one.id)
    assert not fail(requests.table, failure(one), NEVER, entry="timeline")
    assert item(requests, one.id) == before
    assert not fail(requests.table, failure(one, Channel.EMAIL), NEVER, entry="timeline"), "nor without a fallback"
    assert [delivery.status for delivery in cast(RequestRecord, requests.get(one.id)).deliveries] == []


def test_a_fallback_that_fails_and_a_request_that_has_expired_only_fail(requests: Requests) -> None:
    one, expired = accepted(requests), request()
    before = item(requests, one.id)
    assert fail(requests.table, failure(one, Channel.EMAIL), ALWAYS, entry="timeline")
    assert item(requests, one.id) == before
    assert fail(requests.table, failure(expired), ALWAYS, entry="timeline")
    assert requests.get(expired.id) is None


def test_a_failure_that_could_not_be_written_raises(requests: Requests) -> None:
    client = requests.table.meta.client
    reasons: Any = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    conflict = client.exceptions.TransactionCanceledException(
        {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons},
        "TransactWriteItems",
    )
    with (
        patch("botocore.client.BaseClient._make_api_call", side_effect=conflict),
        pytest.raises(ClientError, match="TransactionCanceled"),
    ):
        fail(requests.table, failure(request()), ALWAYS, entry="timeline")


def test_a_confirmation_belongs_to_one_send_and_only_moves_forward(requests: Requests) -> None:
    def confirmed() -> object:
        return requests.table.get_item(Key=delivery_key("confirmed", Channel.SLACK))["Item"].get("confirmed_at")

    put(requests, "confirmed", status="delivered", result="ours")
    seen = []
    for result, at in (("another", AT), ("ours", AT), ("ours", CREATED), ("ours", "2026-01-01T12:30:00.000Z")):
        confirm(requests.table, "confirmed", Channel.SLACK, result, at)
        seen.append(confirmed())
    assert seen == [None, AT, AT, "2026-01-01T12:30:00.000Z"]
    confirm(requests.table, "unknown", Channel.SLACK, "ours", AT)
    assert "Item" not in requests.table.get_item(Key=delivery_key("unknown", Channel.SLACK))


def test_a_delivery_reads_as_it_was_written() -> None:
    first, second, third = (f"2026-01-01T11:59:0{number}.000Z" for number in (1, 2, 3))
    stored = {
        "sk": "DELIVERY#slack",
        "status": "sending",
        "attempts": 3,
        "last_error": "down",
        "next_attempt_at": AT,
        "confirmed_at": CREATED,
        "claim_expires_at": 1_767_268_800_500,
        "timeline": [
            {"at": first, "outcome": "retrying", "error": "down", "in_doubt": True},
            {"at": second, "forced": True},
            {"at": third},
        ],
    }
    killed = Attempt(second, "unknown", in_doubt=True, forced=True)
    timeline = (Attempt(first, "retrying", "down", in_doubt=True), killed, Attempt(third, "sending"))
    expected = Delivery(
        channel=Channel.SLACK,
        status=Status.SENDING,
        attempts=3,
        last_error="down",
        first_attempt_at=first,
        last_attempt_at=third,
        next_attempt_at=AT,
        confirmed_at=CREATED,
        claimed_until="2026-01-01T12:00:00.500Z",
        timeline=timeline,
    )
    assert delivery_of(stored) == expected
    dead = delivery_of({**stored, "status": "retrying"})
    assert dead.claimed_until is None
    assert dead.timeline[2] == Attempt(third, "unknown", in_doubt=True)
    assert delivery_of({"sk": "DELIVERY#slack", "status": "retrying"}) == Delivery(Channel.SLACK, Status.RETRYING, 0)


def test_what_was_said_last_holds() -> None:
    once, later = {"delivered_at": AT}, {"failed_at": AT}
    sending = {"sk": "DELIVERY#slack", "status": "sending"}
    assert settled({"status": "sending"}) is None
    assert settled({"status": "sending", **once, "failed_at": CREATED}) is Status.DELIVERED
    assert settled({"status": "sending", **later, "delivered_at": CREATED}) is Status.FAILED
    assert settled({"status": "failed", **later, "delivered_at": CREATED}) is Status.FAILED
    failed = delivery_of({**sending, **later, "delivered_at": CREATED})
    assert (failed.failed_at, failed.delivered_at) == (AT, CREATED)
    assert delivery_of({**sending, **once, "failed_at": CREATED}).failed_at is None


def test_everything_about_a_request_expires_together() -> None:
    assert expiry("1970-01-01T00:00:30.900Z", timedelta(minutes=1)) == 90


# The publisher


@dataclass
class Topics:
    """SNS, which refuses some entries."""

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


def publish(requests: Requests, sns: Topics, entries: list[OutboxEntry]) -> set[str]:
    return {entry.request.id for entry in Publisher(cast(Any, sns), "topic", requests).publish(entries)}


def test_what_sns_takes_is_marked_and_what_it_refuses_stays(requests: Requests) -> None:
    entries = [OutboxEntry(accepted(requests), (Channel.SLACK,), fallback=None) for _ in range(3)]
    first, second, third = (entry.request.id for entry in entries)
    sns = Topics(refused=(1,))
    assert publish(requests, sns, entries) == {second}
    assert [OUTBOX_SHARD in item(requests, one) for one in (first, second, third)] == [False, True, False]
    [call] = sns.batches
    assert call["TopicArn"] == "topic"
    assert [entry["Id"] for entry in call["PublishBatchRequestEntries"]] == ["0", "1", "2"]
    assert publish(requests, Topics(refused=(0,)), entries[1:2]) == {second}
    assert publish(requests, Topics(), entries[1:2]) == set()


def test_an_entry_carries_its_channels_its_topic_and_its_fallback(requests: Requests) -> None:
    one = accepted(requests).model_copy(update={"description": "ça \ufffe"})
    sns = Topics()
    publish(requests, sns, [OutboxEntry(one, (Channel.SLACK, Channel.EMAIL), FALLBACK)])
    [entry] = sns.batches[0]["PublishBatchRequestEntries"]
    assert entry["Message"].isascii()
    assert f'"fallback":{FALLBACK.model_dump_json()}' in entry["Message"]
    assert entry["MessageAttributes"] == {
        "channels": {"DataType": "String.Array", "StringValue": '["slack","email"]'},
        "topic": {"DataType": "String", "StringValue": "sales"},
    }


def test_what_sns_does_not_answer_for_stays(requests: Requests) -> None:
    one = accepted(requests)
    assert publish(requests, Topics(lost=True), [OutboxEntry(one, (Channel.SLACK,))]) == {one.id}
    assert OUTBOX_SHARD in item(requests, one.id)


def test_what_is_published_but_cannot_be_marked_counts_as_published(requests: Requests) -> None:
    entry = OutboxEntry(accepted(requests), (Channel.SLACK,))
    with refusing():
        assert publish(requests, Topics(), [entry]) == set()
