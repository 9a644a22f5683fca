"""Tests that a bot gets its callback although the callback's message gets lost."""

import json

import pytest

from assistance.domain.record import Outcome
from assistance.routing import CALLBACK, Channel, Topic
from tests.faults.humans import STAFFED
from tests.faults.system import requests
from tests.faults.world import World

DAY = 86_400


def told(system: World) -> list[str]:
    return [json.loads(call.body)["type"].removeprefix("assistance_request.") for call in system.bot.calls]


def delivered(system: World) -> str:
    """A delivered request whose callback is in its queue."""
    system.calls_back = True
    request_id = system.accept_for_sure(Topic.SALES, "help", "key")
    system.produce()
    system.consume(Channel.SLACK)
    system.produce()
    assert len(system.bodies(CALLBACK)) == 1
    return request_id


def sweep_for_days(system: World, *pauses: float) -> list[str]:
    """Sweep after each of these pauses, in seconds. Returns the ids of the requests that were found lost."""
    lost = list[str]()
    for pause in pauses:
        system.advance(pause)
        answer = system.reconcile()
        assert answer
        assert answer["ledger"]["open"] == 0
        lost += answer["ledger"]["lost"]
        system.produce()
    return lost


@pytest.mark.parametrize("sweeps", [(60, 1_000, 5 * DAY), (5 * DAY,)], ids=["every minute", "after the outage only"])
def test_a_bot_gets_the_callback_that_sqs_deleted_while_the_callback_consumer_was_off(
    system: World, sweeps: tuple[float, ...]
) -> None:
    request_id = delivered(system)
    assert sweep_for_days(system, *sweeps) == [request_id]
    system.settle()
    assert told(system) == ["delivered"]


def test_a_bot_gets_the_lost_callback_about_a_take_long_after_the_reconcilers_checks_of_new_requests(
    system: World,
) -> None:
    system.deploy(STAFFED)
    request_id = delivered(system)
    system.settle()
    assert sweep_for_days(system, 60, 1_000) == []
    system.press_for_sure("U1", request_id)
    system.produce()
    assert sweep_for_days(system, 60, 5 * DAY) == [request_id]
    system.settle()
    assert told(system) == ["delivered", "taken"]


def test_a_callback_that_sqs_moved_to_the_dead_letter_queue_fails_and_is_not_sent_again(system: World) -> None:
    request_id = delivered(system)
    system.lose_to_subscription_dlq(CALLBACK)
    assert sweep_for_days(system, 1_000, 1_000) == []
    [callback] = requests().read(request_id).record.callbacks
    assert callback.final is Outcome.FAILED
    assert callback not in requests().read(request_id).record.awaited
    assert (told(system), system.show(request_id)["status"]) == ([], "delivered")


def test_a_callback_that_is_sent_in_time_makes_the_reconciler_write_nothing(system: World) -> None:
    request_id = delivered(system)
    system.consume(CALLBACK)
    before = requests().read(request_id).record
    assert sweep_for_days(system, 60, 1_000) == []
    assert requests().read(request_id).record == before
