"""Tests that the reconciler watches a request that SNS accepts long after the bot's call.

The request must not count as lost while its message is new.
"""

from collections.abc import Iterator
from datetime import timedelta
from unittest.mock import patch

import pytest

from assistance.engine.dead_letters import Depth
from assistance.platform.clock import epoch_ms, timestamp
from assistance.routing import Channel, Topic
from assistance.store.schema import DUE_AT, Due
from assistance.store.table import PROGRESS_KEY, Items
from tests.faults.conftest import Deploy
from tests.faults.fault_injection import Kind
from tests.faults.system import requests
from tests.faults.test_failures_of_other_designs import break_at, recorded
from tests.faults.test_open_requests import published, published_after_an_outage, sweep, unlisted
from tests.faults.world import World


@pytest.fixture(autouse=True)
def _no_message_is_counted_yet() -> Iterator[None]:
    """The number of messages that SQS reports may be a minute old."""
    with patch("assistance.engine.dead_letters.depth", return_value=Depth(0, 0)):
        yield


def test_a_request_that_the_stream_producer_publishes_after_an_outage_does_not_count_as_lost(system: World) -> None:
    system.accept_for_sure(Topic.SALES, "hush", "key")
    system.injector.outage = lambda name: Kind.REJECTED if name == "sns.PublishBatch" else None
    for _ in range(20):
        system.produce()
        system.advance(60)
        sweep(system)
    system.heal()
    system.produce()
    found = sweep(system)
    assert (found["lost"], found["places"]) == ([], {"sales/slack/queued": 1})
    assert found["oldest_pending_seconds"] == {Channel.SLACK: 0}


@pytest.mark.parametrize("kind", [Kind.CRASH_AFTER, Kind.TIMEOUT_AFTER])
def test_a_request_does_not_count_as_lost_although_the_reconciler_crashed_before_it_updated_the_record(
    system: World, kind: Kind
) -> None:
    """An earlier sweep has created the record. The crash comes after the request is marked as published."""
    published_after_an_outage(system)
    break_at(system, "dynamodb.UpdateItem", kind, system.reconcile)
    system.advance(60)
    found = sweep(system)
    assert (found["lost"], found["places"]) == ([], {"sales/slack/queued": 1})
    assert found["oldest_pending_seconds"] == {Channel.SLACK: 60}
    # The sweep has completed the record, so that later sweeps need not read the request.
    [item] = requests().items.due(Due.OPEN)
    assert item[DUE_AT] == epoch_ms(system.now) - 60_000
    # If the message gets lost, the reconciler notices that all the same.
    system.aws.purge(Channel.SLACK)
    system.advance(1_000)
    assert len(sweep(system)["lost"]) == 1
    system.settle()


def missed(system: World, topic: str) -> str:
    """Accept a request that the stream misses. The reconciler is off for 20 minutes."""
    request_id = system.accept_for_sure(topic, "hush", "key")
    system.read_stream()
    system.stream.clear()
    system.advance(1_200)
    return request_id


def test_a_request_does_not_count_as_lost_on_one_channel_if_it_arrives_on_the_other_before_it_is_marked_as_published(
    system: World, deploy: Deploy
) -> None:
    """The first channel's consumer creates the record, and does not know when the request was published."""
    deploy(["slack", "email"], None)
    missed(system, "support")
    with recorded(system) as calls:
        sweep(system)
    number = calls.index("dynamodb.UpdateItem")
    system.reset()
    request_id = missed(system, "support")
    system.injector.plan(None, (number, lambda: system.consume(Channel.SLACK)))
    found = sweep(system)
    assert system.posts() == {(request_id, None): 1}
    assert (found["lost"], found["places"]) == ([], {"support/email/queued": 1})
    assert found["oldest_pending_seconds"] == {Channel.EMAIL: 0}


def test_the_reconciler_watches_a_late_request_although_the_table_listed_it_after_both_checks(system: World) -> None:
    """A clock that is 20 minutes slow has the same effect: the request is too old for the checks of new requests."""
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.read_stream()
    system.stream.clear()
    with unlisted(request_id), patch.object(Items, "unpublished", lambda *_: iter(())):
        for key in ("one", "two", "three"):
            system.advance(400)
            published(system, Topic.PRICING, key)
            sweep(system)
    sweep(system)
    assert system.bodies(Channel.SLACK)
    system.aws.purge(Channel.SLACK)
    system.advance(1_000)
    assert request_id in sweep(system)["lost"]


@pytest.mark.parametrize("progress", ["missing", "unreadable", "of a fast clock"])
def test_the_reconciler_watches_a_late_request_whatever_its_stored_progress_is(system: World, progress: str) -> None:
    stored = {"unreadable": 5, "of a fast clock": timestamp(system.now + timedelta(days=1))}.get(progress)
    if stored:
        requests().items.put({**PROGRESS_KEY, "looked_until": stored})
    request_id = missed(system, Topic.SALES)
    sweep(system)
    assert system.bodies(Channel.SLACK)
    system.aws.purge(Channel.SLACK)
    system.advance(1_000)
    assert request_id in sweep(system)["lost"]
