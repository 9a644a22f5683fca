"""Tests a rollback to version 1 and the next upgrade: no request is lost, and none is sent twice."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from assistance.routing import Channel
from tests.upgrade.world import OVERDUE, STAGES, World, world

OLD, NEW = STAGES[0], STAGES[-1]
A_DAY = timedelta(days=1)


@pytest.fixture
def here() -> Iterator[World]:
    """Version 1 was upgraded, and the reconcilers of both versions have checked a request."""
    with world() as upgraded:
        deliver_and_check(upgraded, "[before]")
        upgraded.updated = NEW
        deliver_and_check(upgraded, "[after the upgrade]")
        yield upgraded


def deliver_and_check(here: World, description: str) -> None:
    """Accept a request, deliver it, and let the reconciler check it."""
    here.accept("sales", description)
    here.travel(2)
    here.sweep()


def upgrade_again(here: World) -> list[str]:
    """Upgrade and run the reconciler a few times. Returns the ids of the requests that it counts as lost."""
    here.updated, lost = NEW, list[str]()
    for _ in range(4):
        here.later(OVERDUE)
        lost += here.sweep()["ledger"]["lost"]
        here.travel(2)
    return lost


@pytest.mark.parametrize("traffic", [False, True])
def test_a_request_accepted_just_before_a_rollback_is_checked_by_the_reconciler_after_the_next_upgrade(
    here: World, *, traffic: bool
) -> None:
    request_id = here.accept("sales", "[one]")
    here.bring_stream()
    here.updated = OLD
    here.travel(2)
    here.sweep()
    here.later(A_DAY)
    if traffic:
        deliver_and_check(here, "[by version 1]")
    upgrade_again(here)
    assert (here.status(request_id), here.arrivals("[one]")) == ("delivered", (0, 1))


def test_a_message_lost_by_version_1_after_a_rollback_is_detected_after_the_next_upgrade(here: World) -> None:
    here.updated = OLD
    here.travel(2)
    here.sweep()
    request_id = here.accept("sales", "[one]")
    here.bring_stream(request_id)
    here.lose(Channel.SLACK, request_id)
    here.later(A_DAY)
    deliver_and_check(here, "[by version 1]")
    assert upgrade_again(here) == [request_id]
    assert (here.status(request_id), here.arrivals("[one]")) == ("delivered", (1, 0))


def hours_without_requests(here: World, number: int) -> None:
    for _ in range(4 * number):
        here.later(timedelta(minutes=15))
        here.sweep()


def rolled_back(here: World) -> None:
    """Roll back, and let version 1 run until it has published all requests again that it counts as lost."""
    here.updated = OLD
    for _ in range(3):
        here.travel(2)
        here.sweep()
        here.later(OVERDUE)
    here.travel(2)


def test_version_1_does_not_publish_a_request_again_that_was_accepted_after_hours_without_requests(here: World) -> None:
    hours_without_requests(here, 3)
    request_id = here.accept("sales", "[one]")
    here.bring_stream()
    rolled_back(here)
    assert here.arrivals("[one]") == (0, 0), "its message is a dead letter, for version 1 can't read it"
    upgrade_again(here)
    assert (here.status(request_id), here.arrivals("[one]")) == ("delivered", (0, 1))


def test_version_1_sends_no_request_a_second_time_although_the_reconciler_had_failed_for_hours(here: World) -> None:
    here.later(timedelta(hours=2))
    here.accept("sales", "[one]")
    here.travel(1)
    rolled_back(here)
    assert here.arrivals("[one]") == (1, 0)


def test_a_redrive_does_not_send_a_request_again_that_version_1_delivered_after_a_rollback(here: World) -> None:
    """The reconciler had failed for so long that version 1 found the dead letter, and used the fallback."""
    here.later(timedelta(hours=7))
    request_id = here.accept("sales", "[one]")
    here.bring_stream()
    rolled_back(here)
    assert here.arrivals("[one]") == (0, 1)
    here.updated = NEW
    here.redrive(Channel.SLACK)
    here.settle()
    assert (here.status(request_id), here.arrivals("[one]")) == ("delivered", (0, 1))
