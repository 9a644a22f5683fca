"""Tests the number of AWS calls of each step, and the cost page that is computed from it."""

from datetime import timedelta
from decimal import Decimal
from math import ceil
from threading import Barrier, Lock
from typing import Any, Final
from unittest.mock import patch

import pytest
from botocore.client import BaseClient

from assistance.platform.clock import timestamp, utc_now
from assistance.routing import ROUTES, Channel, Topic
from assistance.store.items import key_of
from assistance.store.requests import request_key
from assistance.store.schema import DUE_SHARDS, INDEX_SHARDS
from assistance.store.table import Items
from infra.batches import QUEUES
from tests import cost
from tests.happy_path import BATCHES, LONGEST, idle, polled, spent, sweep
from tests.integration.cloud import Cloud
from tests.meter import Spent, size

# Write units of the table for the item, and of each index whose entry is added or removed.
ITEM, OUTBOX, LEDGER = 1, 1, 1
SEND: Final = {"slack": "slack.chat.postMessage", "email": "sesv2.SendEmail"}
# Several requests share one Slack post, but never a mail.
BATCH: Final = QUEUES[Channel.SLACK].size
# A digest contains a complete batch of these requests.
POSTS: Final = {1: 1, 10: 1, 100: 100 // BATCH}

each_topic = pytest.mark.parametrize("topic", Topic)
together = pytest.mark.parametrize("together", BATCHES)


def took(spent: Spent) -> tuple[dict[str, int], float, float]:
    """The number of each AWS call, the write units and the read units."""
    return dict(spent.calls), spent.writes, spent.reads


@each_topic
@together
def test_accepting_a_request_makes_one_database_write_and_no_read(topic: Topic, together: int) -> None:
    units = ITEM + OUTBOX + LEDGER
    assert took(spent(topic, together)["api"]) == ({"dynamodb.PutItem": together}, units * together, 0)


@each_topic
@together
def test_publishing_makes_one_sns_call_per_ten_requests_and_one_database_write_per_request(
    topic: Topic, together: int
) -> None:
    producer = spent(topic, together)["stream_producer"]
    calls = {"sns.PublishBatch": -(-together // 10), "dynamodb.UpdateItem": together}
    assert took(producer) == (calls, (ITEM + OUTBOX) * together, 0)
    assert producer.published == calls["sns.PublishBatch"]


@each_topic
@together
def test_a_delivery_makes_one_database_write_before_the_send_and_one_after_the_send(
    topic: Topic, together: int
) -> None:
    (channel,) = ROUTES[topic].channels
    sends = POSTS[together] if channel is Channel.SLACK else together
    calls = {"dynamodb.PutItem": 2 * together, SEND[channel]: sends}
    assert took(spent(topic, together)[f"{channel}_consumer"]) == (calls, 2 * ITEM * together, 0)


@each_topic
@together
def test_only_email_feedback_and_the_reconciler_make_further_paid_calls(topic: Topic, together: int) -> None:
    found = dict(spent(topic, together))
    for function in ("api", "stream_producer", *(f"{channel}_consumer" for channel in ROUTES[topic].channels)):
        del found[function]
    # Two reconciler runs read each new record for half a unit, 100 per call, and store the time of the check.
    ledger = took(found.pop("reconciler"))
    batches = ceil(together / 100)
    assert ledger == ({"dynamodb.BatchGetItem": 2 * batches, "dynamodb.PutItem": 2}, 2 * ITEM, 1.0 * together)
    if topic is Topic.PRICING:
        confirmed = {"dynamodb.Query": together, "dynamodb.PutItem": together}
        assert took(found.pop("email_feedback")) == (confirmed, ITEM * together, together)
    assert not any(it.calls for it in found.values())


@each_topic
def test_a_long_description_costs_more_only_when_the_request_is_stored_and_marked_as_published(topic: Topic) -> None:
    found = spent(topic, 10, LONGEST)
    kilobytes = 12
    assert found["api"].writes == 10 * (kilobytes + OUTBOX + LEDGER)
    assert found["stream_producer"].writes == 10 * (kilobytes + OUTBOX)
    (channel,) = ROUTES[topic].channels
    assert found[f"{channel}_consumer"].writes == 10 * 2 * ITEM


def test_a_reconciler_run_without_open_requests_makes_one_query_of_minimum_cost_per_index_shard() -> None:
    shards = 2 * INDEX_SHARDS + 2 * DUE_SHARDS
    calls = {"dynamodb.GetItem": 1, "dynamodb.Query": shards + 1}
    # Strongly consistent reads: the times of the last checks, also by version 1.
    assert took(idle()) == (calls, 0, 0.5 * shards + 2)


def test_the_reconciler_publishes_with_the_same_aws_calls_as_the_stream_producer() -> None:
    extra = sweep(25) - idle()
    assert extra.calls["sns.PublishBatch"] == 3
    # It also makes the first check: a query and a write for each request, which is not delivered yet. One more write
    # stores the time of the check.
    assert (extra.calls["dynamodb.UpdateItem"], extra.calls["dynamodb.PutItem"]) == (25, 25 + 1)
    # Batches read the 25 outbox entries and their records, and the records of new requests.
    assert extra.calls["dynamodb.BatchGetItem"] == 3
    # A read and a query find out until when the reconciler has checked new requests.
    assert extra.calls["dynamodb.GetItem"] == 1
    assert extra.calls["dynamodb.Query"] % INDEX_SHARDS == (25 + 1) % INDEX_SHARDS


def test_a_status_call_makes_one_query() -> None:
    assert took(polled()) == ({"dynamodb.Query": 1}, 0, 1)


def test_the_reconciler_reads_only_unpublished_outbox_entries_from_the_outbox_index(stack: Cloud) -> None:
    """The queries of the outbox index return no published request, however many there are."""
    request_ids = [stack.post("sales") for _ in range(3)]
    stack.produce(stack.stream_records()[1:])
    unpublished = Items(stack.table).unpublished(timestamp(utc_now() + timedelta(minutes=1)))
    assert list(map(key_of, unpublished)) == [request_key(request_ids[0])]


def test_sns_calls_and_the_writes_that_mark_requests_as_published_run_in_parallel(stack: Cloud) -> None:
    """The ten SNS calls wait for one another, and so do ten writes at a time: all must begin before one returns."""
    for _ in range(100):
        stack.post("sales")
    records = stack.stream_records()
    barriers = {"PublishBatch": Barrier(10, timeout=60), "UpdateItem": Barrier(10, timeout=60)}
    make_api_call = BaseClient._make_api_call  # type: ignore[attr-defined] # noqa: SLF001
    one_at_a_time = Lock()

    def together(client: Any, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        barriers[operation].wait()
        with one_at_a_time:
            return make_api_call(client, operation, arguments)

    with patch.object(BaseClient, "_make_api_call", together):
        assert stack.produce(records) == []


def test_item_sizes_are_counted_as_dynamodb_documents_them() -> None:
    item = {"é": "é", "n": Decimal(-1200), "t": True, "l": ["a", {"k": "v"}], "s": {"ab", "c"}, "0": Decimal(0)}
    assert size(item) == (2 + 2) + (1 + 3) + (1 + 1) + (1 + 3 + 2 + 1 + (3 + 1 + 2)) + (1 + 3) + (1 + 1)


def test_the_cost_page_shows_the_costs_of_the_counted_calls() -> None:
    assert cost.PAGE.read_text("utf-8") == cost.render(), "run: make cost"


def test_this_design_costs_less_than_the_simple_comparison_design_and_more_than_the_theoretical_minimum() -> None:
    for together in cost.NAIVE_BATCHES:
        options = cost.Options(together, rate=together)
        naive, ours, floor = (cost.mixed(usage, options) for usage in (cost.commonly, cost.ours, cost.floor))
        for service in ("DynamoDB", "Secrets Manager"):
            assert floor.get(service, 0) <= ours[service] < naive[service]
        assert sum(floor.values()) < sum(ours.values()) < sum(naive.values())
