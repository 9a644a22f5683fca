"""Tests that a bot gets its callback although the callback's message gets lost."""

import json
from collections.abc import Iterator

import pytest

from assistance.domain.record import Outcome
from assistance.platform.clock import epoch_ms
from assistance.routing import CALLBACK, Channel, Topic
from assistance.store.schema import Due
from reconciler.open_requests import TIME_FOR_THE_REST_MS
from tests.faults.humans import ESCALATE_AFTER, STAFFED
from tests.faults.system import ATTEMPTS, requests
from tests.faults.test_failures_of_other_designs import recorded
from tests.faults.test_open_requests import check_requests, sweep_of_slow_sqs
from tests.faults.world import World

DAY = 86_400


@pytest.fixture(autouse=True)
def _as_before(system: World) -> Iterator[None]:
    yield
    system.deploy({})


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


def test_a_waiting_callback_does_not_delay_an_escalation_if_the_open_requests_take_a_sweeps_time(
    system: World,
) -> None:
    """While a bot is down, thousands of callbacks may wait."""
    system.deploy(STAFFED)
    request_id = delivered(system)
    assert sweep_for_days(system, 60, 1_000) == []
    system.advance(60 * ESCALATE_AFTER)
    assert system.invoke(lambda: check_requests(TIME_FOR_THE_REST_MS - 1)).untaken == [request_id]


def test_the_dead_letters_of_callbacks_are_not_read_while_all_waiting_callbacks_are_in_time(system: World) -> None:
    """While a bot is down, thousands of its callbacks may be dead letters, and thousands may wait for an attempt."""
    request_id = delivered(system)
    system.bot.answers.append((503, {"Retry-After": "7200"}))
    system.consume(CALLBACK)
    system.cloud.sqs.send_message(QueueUrl=system.cloud.dlqs[CALLBACK], MessageBody="old")
    system.advance(60)
    for _ in range(2):
        with recorded(system) as calls:
            sweep_for_days(system, 1_000)
        assert requests().read(request_id).record.watched
        assert "sqs.ReceiveMessage" not in calls


def test_the_dead_letters_of_callbacks_delay_no_request(system: World) -> None:
    delivered(system)
    lost = system.accept_for_sure(Topic.PRICING, "help", "other")
    system.produce()
    for destination in (CALLBACK, Channel.EMAIL):
        system.lose_to_subscription_dlq(destination)
    system.advance(1_000)
    assert sweep_of_slow_sqs(system, 18).dead_lettered == [lost]


def test_the_reconciler_notices_a_lost_callback_after_it_has_decided_whether_to_escalate(system: World) -> None:
    system.deploy(STAFFED)
    request_id = delivered(system)
    system.aws.purge(CALLBACK)
    assert sweep_for_days(system, 1_000) == []
    system.advance(60 * ESCALATE_AFTER)
    system.reconcile()
    system.produce()
    system.consume(Channel.EMAIL)
    assert sweep_for_days(system, 60) == [request_id]
    system.settle()
    assert told(system) == ["delivered"]


def test_a_sweep_reads_no_request_of_which_a_callback_is_due_later(system: World) -> None:
    """While a bot is down, thousands of its callbacks wait. They would take a sweep's time."""
    request_id = delivered(system)
    system.bot.answers.append((503, {"Retry-After": "7200"}))
    system.consume(CALLBACK)
    sweep_for_days(system, 60, 1_000)
    assert requests().read(request_id).record.due_at
    assert [*requests().items.due(Due.OPEN), *requests().items.due(Due.CALLBACK, epoch_ms(system.now))] == []


def test_late_callbacks_do_not_make_a_sweep_count_as_behind(system: World) -> None:
    delivered(system)
    assert sweep_for_days(system, 60, 1_000) == []
    found = system.invoke(lambda: check_requests(TIME_FOR_THE_REST_MS - 1))
    assert (found.complete, found.behind_seconds) == (False, 0)


def test_a_callback_to_a_bot_that_is_down_for_a_day_is_never_lost_and_after_a_redrive_arrives_once(
    system: World,
) -> None:
    request_id = delivered(system)
    system.bot.answers.extend([(503, {})] * ATTEMPTS)
    for _ in range(24):
        system.consume(CALLBACK)
        assert sweep_for_days(system, 3_600) == []
    record = requests().read(request_id).record
    assert (len(told(system)), len(system.bodies(f"{CALLBACK}-dlq")), record.due_at) == (ATTEMPTS, 1, None)
    system.cloud.redrive(CALLBACK)
    system.consume(CALLBACK)
    assert sweep_for_days(system, 3_600, 5 * DAY) == []
    assert (len(told(system)), len(system.bodies(f"{CALLBACK}-dlq", CALLBACK))) == (ATTEMPTS + 1, 0)
