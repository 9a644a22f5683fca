"""Tests takes that happen just before one of the calls of a consumer or of the reconciler."""

from collections.abc import Callable
from itertools import count

import pytest

from assistance.routing import Channel, Topic
from assistance.slack.blocks import RELEASE, TAKE
from tests.faults.humans import ESCALATE_AFTER, STAFFED
from tests.faults.test_escalation_and_fallback import fail_on_both_channels_in_doubt
from tests.faults.world import World


def press_before_each_call(
    system: World, before: Callable[[], object], step: Callable[[], object], action: str = TAKE
) -> None:
    """Take the step as often as it makes calls. Just before another call each time, Anna clicks the request's button.

    `before`: prepares the new system of each round. `action`: the button that Anna clicks.
    """
    system.deploy(STAFFED)
    for number in count():
        system.reset()
        system.calls_back = True
        before()

        def press() -> None:
            if system.slack.messages:
                system.press_for_sure("anna", next(iter(system.accepted)), action)

        system.injector.plan(None, (number, press))
        step()
        over = len(system.injector.calls) <= number
        system.injector.plan(None)
        system.observe()
        system.settle()
        assert len(system.slack.messages) == 1
        assert system.mails().total() <= 1
        if over:
            assert number
            return


def two_queued(system: World) -> None:
    for key in ("one", "two"):
        system.accept_for_sure(Topic.SALES, "help", key)
    system.produce()


def two_in_doubt(system: World) -> None:
    two_queued(system)
    system.slack.fail("drop", method="chat.postMessage", times=1)
    system.consume(Channel.SLACK)
    system.advance(31)


def untaken(system: World) -> None:
    system.accept_for_sure(Topic.SALES, "help", "one")
    system.settle()
    system.advance(60 * ESCALATE_AFTER)


def escalated(system: World) -> None:
    untaken(system)
    system.reconcile()
    system.produce()


def escalated_after_a_fallback_in_doubt(system: World) -> None:
    """The fallback has failed, but its last attempt has posted the request. An operator has redriven the mail."""
    system.accept_for_sure(Topic.PRICING, "help", "one")
    system.produce()
    fail_on_both_channels_in_doubt(system)
    system.aws.purge("slack-dlq")
    system.advance(60)
    system.redrive()
    system.consume(Channel.EMAIL)
    system.advance(60 * (ESCALATE_AFTER + 1))
    system.reconcile()
    system.produce()
    assert system.bodies(Channel.SLACK)


@pytest.mark.parametrize("before", [two_queued, two_in_doubt, escalated_after_a_fallback_in_doubt])
def test_taking_a_request_while_its_slack_digest_is_being_sent_causes_no_second_post(
    system: World, before: Callable[[World], None]
) -> None:
    press_before_each_call(system, lambda: before(system), lambda: system.consume(Channel.SLACK))


def test_a_request_taken_while_the_reconciler_runs_is_not_escalated_to_the_fallback(system: World) -> None:
    press_before_each_call(system, lambda: untaken(system), system.reconcile)


@pytest.mark.parametrize("action", [TAKE, RELEASE])
def test_an_escalation_is_sent_at_most_once_if_the_request_is_taken_during_the_send(system: World, action: str) -> None:
    def before() -> None:
        escalated(system)
        if action == RELEASE:
            system.press_for_sure("anna", *system.accepted)

    press_before_each_call(system, before, lambda: system.consume(Channel.EMAIL), action)
