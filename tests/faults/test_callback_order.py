"""Tests that a bot that orders its callbacks by their timestamps, as documented, sees what has happened last."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import count

from assistance.routing import CALLBACK, Channel, Topic
from assistance.slack.blocks import RELEASE, TAKE
from tests.faults.humans import STAFFED
from tests.faults.world import World

ON_BOTH = {"ROUTES": json.dumps({Topic.SALES: {"channels": ["slack", "email"]}})}


def call_back(system: World) -> None:
    """Deliver the callbacks that are in the outbox."""
    system.produce()
    system.consume(CALLBACK)


def told(system: World, *types: str) -> str:
    """The last of these types of callbacks, in the order of their timestamps, as a bot sees it."""
    bodies = [json.loads(call.body) for call in system.bot.calls]
    events = [(body["timestamp"], body["type"].removeprefix("assistance_request.")) for body in bodies]
    return str(max(event for event in events if event[1] in types)[1])


def delivered(system: World) -> str:
    system.deploy(STAFFED)
    system.calls_back = True
    request_id = system.accept_for_sure(Topic.SALES, "help", "key")
    system.settle()
    return request_id


@contextmanager
def clock_off_by(system: World, seconds: int) -> Iterator[None]:
    system.traveller.move_to(system.now + timedelta(seconds=seconds))
    yield
    system.traveller.move_to(system.now - timedelta(seconds=seconds))


def reaches(system: World, number: int, meanwhile: Callable[[], None], act: Callable[[], object]) -> bool:
    """Act, and let `meanwhile` happen at the AWS call with this number. Then call the bot back.

    Returns whether there was a call with this number.
    """
    system.injector.plan(None, (number, meanwhile))
    act()
    was_made = len(system.injector.calls) > number
    system.injector.plan(None)
    call_back(system)
    return was_made


def test_a_release_with_an_operators_slow_clock_is_the_last_event_that_the_bot_sees(system: World) -> None:
    request_id = delivered(system)
    system.press_for_sure("anna", request_id)
    call_back(system)
    with clock_off_by(system, -120):
        system.release_by_command("operator", request_id)
    call_back(system)
    assert system.taken(request_id) is None
    assert told(system, "taken", "released") == "released"


def test_a_take_after_a_release_with_an_operators_fast_clock_is_the_last_event_that_the_bot_sees(system: World) -> None:
    request_id = delivered(system)
    system.press_for_sure("anna", request_id)
    with clock_off_by(system, 120):
        system.release_by_command("operator", request_id)
    call_back(system)
    system.press_for_sure("bea", request_id)
    call_back(system)
    shown = system.taken(request_id)
    assert shown
    assert told(system, "taken", "released") == "taken"
    assert json.loads(system.bot.calls[-1].body)["data"]["taken"] == shown


def test_a_take_that_another_take_and_its_release_delay_is_the_last_event_that_the_bot_sees(system: World) -> None:
    """Bea presses first. Before her press is written, Anna takes the request by her mail, and releases it."""
    for number in count():
        system.reset()
        request_id = delivered(system)

        def meanwhile(request_id: str = request_id) -> None:
            for action in (TAKE, RELEASE):
                system.press("anna", request_id, action)
                call_back(system)

        if not reaches(system, number, meanwhile, partial(system.press, "bea", request_id, TAKE)):
            assert number > 2
            return
        now = "taken" if system.taken(request_id) else "released"
        assert told(system, "taken", "released") == now, number


def test_a_bounce_that_a_delivery_delays_is_the_last_status_that_the_bot_sees(system: World) -> None:
    """SES reports the bounce. Before the report is recorded, Slack takes the request."""
    for number in count():
        system.reset()
        system.deploy(ON_BOTH)
        system.calls_back = True
        request_id = system.accept_for_sure(Topic.SALES, "help", "key")
        system.produce()
        system.consume(Channel.EMAIL)

        def meanwhile() -> None:
            system.advance(1)
            system.consume(Channel.SLACK)
            call_back(system)

        system.publish_mail_event("bounce", 0)
        if not reaches(system, number, meanwhile, system.bring_feedback):
            assert number > 2
            return
        assert told(system, "delivered", "failed") == system.show(request_id)["status"], number
