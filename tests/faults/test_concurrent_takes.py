"""Tests takes that happen just before one of the calls of a consumer or of the reconciler."""

from collections.abc import Callable
from itertools import count

import pytest

from assistance.routing import Channel, Topic
from assistance.slack.blocks import RELEASE, TAKE
from tests.faults.humans import ESCALATE_AFTER, STAFFED
from tests.faults.world import World


def press_before_each_call(
    here: World, before: Callable[[], object], step: Callable[[], object], action: str = TAKE
) -> None:
    """Take the step once for each of its calls, in a new system each time.

    Anna clicks the first request's button just before that call.
    """
    here.deploy(STAFFED)
    for number in count():
        here.reset()
        here.calls_back = True
        before()

        def press() -> None:
            if here.slack.messages:
                here.press_for_sure("anna", next(iter(here.accepted)), action)

        here.injector.plan(None, (number, press))
        step()
        over = len(here.injector.calls) <= number
        here.injector.plan(None)
        here.observe()
        here.settle()
        assert len(here.slack.messages) == 1
        assert here.mails().total() <= 1
        if over:
            assert number
            return


def two_queued(here: World) -> None:
    for key in ("one", "two"):
        here.accept_for_sure(Topic.SALES, "help", key)
    here.produce()


def two_in_doubt(here: World) -> None:
    two_queued(here)
    here.slack.fail("drop", method="chat.postMessage", times=1)
    here.consume(Channel.SLACK)
    here.advance(31)


def untaken(here: World) -> None:
    here.accept_for_sure(Topic.SALES, "help", "one")
    here.settle()
    here.advance(60 * ESCALATE_AFTER)


def escalated(here: World) -> None:
    untaken(here)
    here.reconcile()
    here.produce()


@pytest.mark.parametrize("before", [two_queued, two_in_doubt])
def test_taking_a_request_while_its_slack_digest_is_being_sent_causes_no_second_post(
    here: World, before: Callable[[World], None]
) -> None:
    press_before_each_call(here, lambda: before(here), lambda: here.consume(Channel.SLACK))


def test_a_request_taken_while_the_reconciler_runs_is_not_escalated_to_the_fallback(here: World) -> None:
    press_before_each_call(here, lambda: untaken(here), here.reconcile)


@pytest.mark.parametrize("action", [TAKE, RELEASE])
def test_an_escalation_is_sent_at_most_once_if_the_request_is_taken_during_the_send(here: World, action: str) -> None:
    def before() -> None:
        escalated(here)
        if action == RELEASE:
            here.press_for_sure("anna", *here.accepted)

    press_before_each_call(here, before, lambda: here.consume(Channel.EMAIL), action)
