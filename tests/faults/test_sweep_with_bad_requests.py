"""Tests that a request that the reconciler cannot handle does not stop it from handling the others."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from assistance.routing import Channel, Topic
from assistance.store.schema import PARTITION_KEY, RECORD, SORT_KEY
from tests.faults.test_open_requests import published, sweep
from tests.faults.world import World
from tests.memory_table import MOST_BYTES
from tests.meter import size

RETENTION = timedelta(days=90)


def filled(system: World, request_id: str) -> None:
    """Make the request's delivery record as large as an item can be. Every change of the record makes it larger."""
    key = {PARTITION_KEY: request_id, SORT_KEY: RECORD}
    item: dict[str, Any] = system.cloud.table.get_item(Key=key)["Item"]
    system.cloud.table.put_item(Item=item | {"filling": "x" * (MOST_BYTES - size(item) - len("filling"))})


def retried(system: World, key: str) -> str:
    system.slack.fail("rate_limited", retry_after=1)
    request_id = published(system, Topic.SALES, key)
    system.consume(Channel.SLACK)
    return request_id


def lost(system: World) -> None:
    system.aws.purge(Channel.SLACK)
    system.advance(1_000)


def dead(system: World) -> None:
    system.advance(60)
    system.lose_to_subscription_dlq(Channel.SLACK)


@pytest.mark.parametrize(("fate", "found"), [(lost, "lost"), (dead, "dead_lettered")])
@pytest.mark.parametrize("is_watched", [False, True], ids=["new", "watched"])
def test_the_reconciler_handles_the_other_requests_although_one_delivery_record_is_too_large_to_write(
    system: World, fate: Callable[[World], None], found: str, *, is_watched: bool
) -> None:
    full = retried(system, "full")
    other = retried(system, "other")
    if is_watched:
        system.advance(60)
        assert sweep(system)["open"] == 2
    filled(system, full)
    fate(system)
    swept = sweep(system)
    assert other in swept[found]
    assert swept["unreadable"] == 1


def test_the_reconciler_handles_the_other_requests_although_one_expires_while_being_published_again(
    system: World,
) -> None:
    published(system, Topic.SALES, "expires")
    system.advance(60)
    sweep(system)
    system.advance(1_000)
    other = published(system, Topic.SALES, "other")
    system.aws.purge(Channel.SLACK)
    system.advance(RETENTION / timedelta(seconds=1) - 1_065)
    calls: list[str] = []
    before_it_is_read = ["sqs.GetQueueAttributes", "dynamodb.Query"]

    def expire(call: str) -> None:
        calls.append(call)
        if calls[-2:] == before_it_is_read:
            system.traveller.shift(10)
            expired.append(system.now)

    expired: list[object] = []
    system.injector.outage = expire
    assert other in sweep(system)["lost"]
    assert len(expired) == 1


def test_a_message_is_not_acknowledged_if_the_delivery_record_of_its_request_contains_no_deliveries(
    system: World,
) -> None:
    """A record without deliveries does not tell on which channel the consumer is to deliver the request."""
    request_id = retried(system, "key")
    key = {PARTITION_KEY: request_id, SORT_KEY: RECORD}
    item: dict[str, Any] = system.cloud.table.get_item(Key=key)["Item"]
    del item["record"]["deliveries"]
    system.cloud.table.put_item(Item=item)
    system.advance(60)
    system.consume(Channel.SLACK)
    assert len(system.bodies(Channel.SLACK)) == 1
    system.advance(60)
    assert sweep(system)["unreadable"] == 1
