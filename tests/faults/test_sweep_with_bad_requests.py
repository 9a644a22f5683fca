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


def filled(here: World, request_id: str) -> None:
    """Make the request's delivery record as large as an item can be. Every change of the record makes it larger."""
    key = {PARTITION_KEY: request_id, SORT_KEY: RECORD}
    item: dict[str, Any] = here.cloud.table.get_item(Key=key)["Item"]
    here.cloud.table.put_item(Item=item | {"filling": "x" * (MOST_BYTES - size(item) - len("filling"))})


def retried(here: World, key: str) -> str:
    here.slack.fail("rate_limited", retry_after=1)
    request_id = published(here, Topic.SALES, key)
    here.consume(Channel.SLACK)
    return request_id


def lost(here: World) -> None:
    here.aws.purge(Channel.SLACK)
    here.advance(1_000)


def dead(here: World) -> None:
    here.advance(60)
    here.lose_to_subscription_dlq(Channel.SLACK)


@pytest.mark.parametrize(("fate", "found"), [(lost, "lost"), (dead, "dead_lettered")])
@pytest.mark.parametrize("is_watched", [False, True], ids=["new", "watched"])
def test_the_reconciler_handles_the_other_requests_although_one_delivery_record_is_too_large_to_write(
    here: World, fate: Callable[[World], None], found: str, *, is_watched: bool
) -> None:
    full = retried(here, "full")
    other = retried(here, "other")
    if is_watched:
        here.advance(60)
        assert sweep(here)["open"] == 2
    filled(here, full)
    fate(here)
    swept = sweep(here)
    assert other in swept[found]
    assert swept["unreadable"] == 1


def test_the_reconciler_handles_the_other_requests_although_one_expires_while_being_published_again(
    here: World,
) -> None:
    published(here, Topic.SALES, "expires")
    here.advance(60)
    sweep(here)
    here.advance(1_000)
    other = published(here, Topic.SALES, "other")
    here.aws.purge(Channel.SLACK)
    here.advance(RETENTION / timedelta(seconds=1) - 1_065)
    calls: list[str] = []
    before_it_is_written = ["sqs.GetQueueAttributes", "dynamodb.Query", "dynamodb.Query"]

    def expire(call: str) -> None:
        calls.append(call)
        if calls[-3:] == before_it_is_written:
            here.traveller.shift(10)
            expired.append(here.now)

    expired: list[object] = []
    here.injector.outage = expire
    assert other in sweep(here)["lost"]
    assert len(expired) == 1


def test_a_message_is_not_acknowledged_if_the_delivery_record_of_its_request_contains_no_deliveries(
    here: World,
) -> None:
    """Such a record does not tell on which channel the request is to be delivered."""
    request_id = retried(here, "key")
    key = {PARTITION_KEY: request_id, SORT_KEY: RECORD}
    item: dict[str, Any] = here.cloud.table.get_item(Key=key)["Item"]
    del item["record"]["deliveries"]
    here.cloud.table.put_item(Item=item)
    here.advance(60)
    here.consume(Channel.SLACK)
    assert len(here.bodies(Channel.SLACK)) == 1
    here.advance(60)
    assert sweep(here)["unreadable"] == 1
