"""Tests that the reconciler accounts for an unreadable request after an operator has repaired it."""

from collections.abc import Mapping
from typing import Any

import pytest

from assistance.routing import Channel, Topic
from assistance.store.requests import request_key
from assistance.store.schema import PARTITION_KEY, RECORD, SORT_KEY
from tests.faults.fault_injection import Kind
from tests.faults.system import requests
from tests.faults.test_open_requests import published, sweep
from tests.faults.world import World
from tests.logged_metrics import emitted


def damage(key: dict[str, str], name: str) -> Mapping[str, Any]:
    """Damage the attribute `name` of an item. Returns the undamaged item."""
    kept = requests().items.get(key)
    assert kept
    requests().items.put({**kept, name: "damaged"})
    return kept


def accounted_for(system: World, fate: str, request_id: str) -> bool:
    """Lose the request's message, or dead-letter it if `fate` says so. Returns whether the reconciler reports that."""
    if fate == "dead_lettered":
        system.lose_to_subscription_dlq(Channel.SLACK)
    system.aws.purge(Channel.SLACK)
    system.advance(2_000)
    return request_id in [found for _ in range(3) for found in sweep(system)[fate]]


@pytest.mark.parametrize("fate", ["dead_lettered", "lost"])
def test_the_reconciler_accounts_for_a_request_whose_damaged_items_were_repaired(system: World, fate: str) -> None:
    request_id = published(system, Topic.SALES, "key")
    kept = damage(request_key(request_id), "channels")
    for _ in range(20):
        system.advance(120)
        assert sweep(system)["unreadable"] == 1, "at every sweep, so that the alarm stays on"
    requests().items.put(kept)
    assert accounted_for(system, fate, request_id)
    assert sweep(system)["unreadable"] == 0


@pytest.mark.parametrize("fate", ["dead_lettered", "lost"])
def test_the_reconciler_accounts_for_a_request_whose_damaged_delivery_record_was_deleted(
    system: World, fate: str
) -> None:
    request_id = published(system, Topic.SALES, "key")
    for seconds in (60, 1_000):
        system.advance(seconds)
        assert sweep(system)["open"] == 1
    key = {PARTITION_KEY: request_id, SORT_KEY: RECORD}
    damage(key, "record")
    system.advance(60)
    assert sweep(system)["unreadable"] == 1
    system.cloud.table.delete_item(Key=key)
    assert accounted_for(system, fate, request_id)


def test_an_unreadable_item_raises_an_alarm_although_the_first_reconciler_run_that_read_it_crashed(
    system: World, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(request_key(published(system, Topic.SALES, "key")), "channels")
    system.advance(60)
    seen = list[str]()

    def outage(call: str) -> Kind | None:
        seen.append(call)
        return Kind.CRASH_AFTER if call == "dynamodb.UpdateItem" else None

    system.injector.outage = outage
    assert system.reconcile() is None
    assert "dynamodb.UpdateItem" in seen, "it has kept that it has looked"
    system.heal()
    capsys.readouterr()
    system.advance(120)
    sweep(system)
    found = {series.name: values for series, values in emitted(capsys.readouterr().out).items()}
    assert found["UnreadableItems"] == [1]
