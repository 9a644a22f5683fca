"""Tests a rollback to version 1 and the next upgrade: no request is lost, and none is sent twice."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from assistance.domain.record import Status
from assistance.platform.clock import timestamp, utc_now
from assistance.routing import Channel
from tests.integration.test_unreadable_items import delivery
from tests.recorded_calls import meanwhile
from tests.records import resend
from tests.upgrade.states import after, message
from tests.upgrade.world import A_MINUTE, OVERDUE, STAGES, World, world

OLD, NEW = STAGES[0], STAGES[-1]
A_DAY = timedelta(days=1)


@pytest.fixture
def system() -> Iterator[World]:
    """Version 1 was upgraded, and the reconcilers of both versions have checked a request."""
    with world() as upgraded:
        deliver_and_check(upgraded, "[before]")
        upgraded.updated = NEW
        deliver_and_check(upgraded, "[after the upgrade]")
        yield upgraded


def deliver_and_check(system: World, description: str) -> None:
    """Accept a request, deliver it, and let the reconciler check it."""
    system.accept("sales", description)
    system.travel(2)
    system.sweep()


def upgrade_again(system: World) -> list[str]:
    """Upgrade and run the reconciler a few times. Returns the ids of the requests that it counts as lost."""
    system.updated, lost = NEW, list[str]()
    for _ in range(4):
        system.later(OVERDUE)
        lost += system.sweep()["ledger"]["lost"]
        system.travel(2)
    return lost


@pytest.mark.parametrize("traffic", [False, True])
def test_a_request_accepted_just_before_a_rollback_is_checked_by_the_reconciler_after_the_next_upgrade(
    system: World, *, traffic: bool
) -> None:
    request_id = system.accept("sales", "[one]")
    system.bring_stream()
    system.updated = OLD
    system.travel(2)
    system.sweep()
    system.later(A_DAY)
    if traffic:
        deliver_and_check(system, "[by version 1]")
    upgrade_again(system)
    assert (system.status(request_id), system.arrivals("[one]")) == ("delivered", (0, 1))


def test_a_message_lost_by_version_1_after_a_rollback_is_detected_after_the_next_upgrade(system: World) -> None:
    system.updated = OLD
    system.travel(2)
    system.sweep()
    request_id = system.accept("sales", "[one]")
    system.bring_stream(request_id)
    system.lose(Channel.SLACK, request_id)
    system.later(A_DAY)
    deliver_and_check(system, "[by version 1]")
    assert upgrade_again(system) == [request_id]
    assert (system.status(request_id), system.arrivals("[one]")) == ("delivered", (1, 0))


def hours_without_requests(system: World, number: int) -> None:
    for _ in range(4 * number):
        system.later(timedelta(minutes=15))
        system.sweep()


def rolled_back(system: World) -> None:
    """Roll back, and let version 1 run until it has published all requests again that it counts as lost."""
    system.updated = OLD
    for _ in range(3):
        system.travel(2)
        system.sweep()
        system.later(OVERDUE)
    system.travel(2)


def test_version_1_does_not_publish_a_request_again_that_was_accepted_after_hours_without_requests(
    system: World,
) -> None:
    hours_without_requests(system, 3)
    request_id = system.accept("sales", "[one]")
    system.bring_stream()
    rolled_back(system)
    assert system.arrivals("[one]") == (0, 0), "its message is a dead letter, for version 1 can't read it"
    upgrade_again(system)
    assert (system.status(request_id), system.arrivals("[one]")) == ("delivered", (0, 1))


def test_version_1_sends_no_request_a_second_time_although_the_reconciler_had_failed_for_hours(system: World) -> None:
    system.later(timedelta(hours=2))
    system.accept("sales", "[one]")
    system.travel(1)
    rolled_back(system)
    assert system.arrivals("[one]") == (1, 0)


def test_a_redrive_does_not_send_a_request_again_that_version_1_delivered_after_a_rollback(system: World) -> None:
    """The reconciler had failed for so long that version 1 found the dead letter, and used the fallback."""
    system.later(timedelta(hours=7))
    request_id = system.accept("sales", "[one]")
    system.bring_stream()
    rolled_back(system)
    assert system.arrivals("[one]") == (0, 1)
    system.updated = NEW
    system.redrive(Channel.SLACK)
    system.settle()
    assert (system.status(request_id), system.arrivals("[one]")) == ("delivered", (0, 1))


def test_a_late_entry_in_the_outbox_does_not_send_a_request_again_that_version_1_delivered_after_a_rollback(
    system: World,
) -> None:
    """Version 1 died after it had published the request, and before it removed the request from the outbox."""
    request_id = system.accept("sales", "[one]")
    system.records.clear()
    end = [{"at": timestamp(utc_now()), "outcome": "delivered"}]
    system.table.put_item(Item=delivery(request_id, Channel.SLACK, Status.DELIVERED) | {"timeline": end})
    system.later(timedelta(minutes=5))
    assert system.sweep()["outbox"]["published"] == 1
    system.travel(2)
    assert upgrade_again(system) == []
    assert (system.status(request_id), system.arrivals("[one]")) == ("delivered", (0, 0))


def test_a_write_of_another_function_does_not_hide_what_version_1_delivered_after_a_rollback() -> None:
    """While a consumer handles a duplicate message, the producer publishes a resend of before the rollback."""
    with world() as system:
        system.updated = NEW - {"api", "stream_producer"}
        request_id = after("sales", "rate_limited", retry_after=0)(system, "[one]")
        resend(system.table, request_id, Channel.EMAIL)
        system.updated = OLD
        system.later(A_MINUTE)
        system.attempt(Channel.SLACK, request_id)
        system.updated = NEW
        system.later(A_MINUTE)
        system.enqueue(Channel.SLACK, message(system, request_id))
        steps = [system.bring_stream]

        def step_before(call: str) -> None:
            if call == "dynamodb.PutItem" and steps:
                with meanwhile():
                    steps.pop()()

        system.injector.outage = step_before
        with system.injector.invocation():
            system.attempt(Channel.SLACK, request_id)
        assert steps == []
        system.travel(2)
        assert (system.status(request_id), system.arrivals("[one]")) == ("delivered", (1, 1))
