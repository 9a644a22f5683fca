"""Tests damaged items that still parse: none prevents the reconciler or the producer from handling the others."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from assistance.domain.record import Delivery, Entry, Kind, Record, Status
from assistance.models import AssistanceRequest
from assistance.platform.clock import timestamp, utc_now
from assistance.routing import Channel
from assistance.store import codec
from assistance.store.legacy import REOPENED_PREFIX
from assistance.store.requests import fresh, request_key
from assistance.store.schema import OUTBOX_SHARD, PARTITION_KEY, RECORD, SORT_KEY
from local.slack_server import SlackServer
from tests.integration.cloud import Cloud
from tests.integration.steps import arrived
from tests.integration.test_unreadable_items import SETTLED, Item, delivery, request, unaffected, unreadable
from tests.records import ROUTE

RESEND = "resend-" + "x" * 200
"""The name of a resend that is too long for a message."""


def recorded(request_id: str, change: Callable[[Record], Record], **damage: Any) -> list[Item]:  # noqa: ANN401
    """The items of a published request: the item of its record, and its request item.

    `change` changes the record. `damage` then replaces attributes of the record's item.
    """
    said = request(request_id, published_at=timestamp(utc_now()), fallback_channel="email")
    names = ("topic", "description", "created_at", "callback_url")
    one = AssistanceRequest(id=request_id, **{name: said[name] for name in names})
    record = change(fresh(one, ROUTE, said["ttl"]))
    return [codec.item_of(request_id, replace(record, version=1), {}) | damage, said]


def a_name_too_long_for_a_message(request_id: str) -> list[Item]:
    def resent(record: Record) -> Record:
        more = Delivery(RESEND, "slack", Kind.RESEND)
        return replace(record, deliveries=(*record.deliveries, more), outbox=(Entry(RESEND, record.created_at),))

    return recorded(request_id, resent)


def an_end_by_a_channel_that_there_is_not(request_id: str) -> list[Item]:
    at = timestamp(utc_now())
    entry = {OUTBOX_SHARD: 1, "outbox_channels": ["callback"], "outbox_since": at, "created_at": at, "topic": "sales"}
    item = delivery(request_id, Channel.SLACK, Status.DELIVERED) | entry | {SORT_KEY: "DELIVERY#fax"}
    return [item, request(request_id, published_at=at)]


def a_version_that_no_write_finds(version: object) -> Callable[[str], list[Item]]:
    return lambda request_id: recorded(request_id, lambda record: record, version=version)


def a_record_of_a_later_request(request_id: str) -> list[Item]:
    return recorded(request_id, lambda record: replace(record, created_at=record.created_at + 1))


def an_old_result_that_is_deep_json(request_id: str) -> list[Item]:
    item = delivery(request_id, Channel.SLACK, Status.RETRYING) | {"result": "[" * 100_000}
    return [item, request(request_id, published_at=timestamp(utc_now()))]


def an_old_ledger_of_no_id(_: str) -> list[Item]:
    return [{PARTITION_KEY: "LEDGER", SORT_KEY: REOPENED_PREFIX, "reopened_at": timestamp(utc_now())}]


def record_key(request_id: str) -> dict[str, str]:
    return {PARTITION_KEY: request_id, SORT_KEY: RECORD}


DAMAGED = {
    each.__name__: each
    for each in (
        a_name_too_long_for_a_message,
        an_end_by_a_channel_that_there_is_not,
        a_record_of_a_later_request,
        an_old_result_that_is_deep_json,
        an_old_ledger_of_no_id,
    )
} | {f"version {version!r}": a_version_that_no_write_finds(version) for version in (0, "1", True)}


@pytest.mark.parametrize("kind", DAMAGED)
def test_the_reconciler_counts_a_damaged_item_and_continues(
    stack: Cloud, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missed, died = unaffected(stack)
    for item in DAMAGED[kind](str(uuid4())):
        stack.table.put_item(Item=item)
    capsys.readouterr()
    for number in (1, 2):
        stack.reconcile(later=number * SETTLED)
    assert unreadable(capsys.readouterr().out)
    assert stack.status(missed) == "published"
    assert stack.show(died)["deliveries"][0]["status"] == "failed"


@pytest.mark.parametrize("kind", [a_name_too_long_for_a_message, an_end_by_a_channel_that_there_is_not])
def test_the_stream_producer_publishes_the_valid_records_of_a_batch_with_a_damaged_item(
    stack: Cloud, kind: Callable[[str], list[Item]]
) -> None:
    stack.stream_records()
    good = stack.post("sales")
    for item in kind(str(uuid4())):
        stack.table.put_item(Item=item)
    assert len(stack.produce()) == 1
    assert stack.status(good) == "published"


@pytest.mark.parametrize("value", [{"text"}, {1}, b"\x00", {b"\x00"}], ids=["SS", "NS", "B", "BS"])
def test_writing_a_delivery_record_keeps_unknown_attributes_of_any_type(
    stack: Cloud, slack: SlackServer, value: object
) -> None:
    request_id = stack.post("sales", "hush")
    stack.produce()
    stack.reconcile(later=SETTLED)
    item = stack.table.get_item(Key=record_key(request_id))["Item"]
    stack.table.put_item(Item=item | {"added": value})
    stack.sqs.purge_queue(QueueUrl=stack.queues[Channel.SLACK])
    assert stack.reconcile(later=timedelta(hours=1))["ledger"]["lost"] == [request_id]
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert stack.table.get_item(Key=record_key(request_id))["Item"]["added"] == value


def test_the_reconciler_handles_the_other_requests_although_a_copy_of_one_has_an_unknown_sort_key(stack: Cloud) -> None:
    request_id = stack.post("sales")
    kept = stack.table.get_item(Key=request_key(request_id))["Item"]
    stack.table.put_item(Item=kept | {SORT_KEY: "REQUEST#backup"})
    _, died = unaffected(stack)
    for number in (1, 2):
        stack.reconcile(later=number * SETTLED)
    assert stack.status(died) == "failed"


def test_a_request_is_delivered_although_version_1_has_left_an_item_of_an_unknown_channel_beside_it(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales", "hush")
    stack.table.put_item(Item=delivery(request_id, Channel.SLACK, Status.RETRYING) | {SORT_KEY: "DELIVERY#fax"})
    stack.reconcile(later=SETTLED)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert arrived(slack, "hush") == 1
    assert stack.status(request_id) == "delivered"
    assert "fax" not in json.dumps(stack.show(request_id))
