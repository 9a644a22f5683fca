"""Tests a fallback that was cancelled because it was not needed, and that a bounce starts a second time."""

import json
from unittest.mock import patch

import pytest

from assistance.engine.dead_letters import Depth
from assistance.routing import Channel, Topic
from tests.faults.conftest import Deploy
from tests.faults.fault_injection import Kind
from tests.faults.test_failures_of_other_designs import break_at, send_again
from tests.faults.test_lost_callbacks import told
from tests.faults.test_open_requests import published, sweep
from tests.faults.test_two_channels import accepted, status
from tests.faults.world import World

DIED, REFUSED = "died", "503"


def bounced(system: World) -> str:
    """Create a request whose mail bounced and whose fallback message is in Slack's queue."""
    request_id = published(system, Topic.PRICING, "key")
    system.consume(Channel.EMAIL)
    bounces_again(system, 0)
    return request_id


def bounces_again(system: World, mail: int) -> None:
    system.publish_mail_event("bounce", mail)
    system.bring_feedback()
    system.produce()


def slack_dies(system: World) -> None:
    break_at(system, "http.chat.postMessage", Kind.CRASH_BEFORE, lambda: system.consume(Channel.SLACK))


def marked_unneeded(system: World, request_id: str) -> None:
    """Deliver a resend by email before the fallback's next attempt, which cancels the fallback. A day passes."""
    send_again(system, request_id, Channel.EMAIL, "once more")
    system.consume(Channel.EMAIL)
    system.advance(200)
    system.consume(Channel.SLACK)
    assert not system.bodies(Channel.SLACK)
    assert status(system, request_id) == "delivered"
    assert sweep(system)["open"] == 0
    system.advance(86_400)


@pytest.mark.parametrize("last", [DIED, REFUSED])
def test_a_fallback_delivery_that_is_started_a_second_time_has_the_full_number_of_attempts(
    system: World, last: str
) -> None:
    request_id = bounced(system)
    system.slack.fail("status", status=503, times=2)
    for _ in range(2):
        system.consume(Channel.SLACK)
        system.advance(60)
    if last == DIED:
        slack_dies(system)
    marked_unneeded(system, request_id)
    if last == REFUSED:
        system.slack.fail("status", status=503, times=1)
    bounces_again(system, 1)
    for _ in range(5):
        system.consume(Channel.SLACK)
        system.advance(200)
    assert (status(system, request_id), system.posts().total()) == ("delivered", 1)


@pytest.mark.parametrize("last", [DIED, REFUSED])
def test_the_status_of_a_cancelled_fallback_delivery_shows_no_next_attempt(system: World, last: str) -> None:
    request_id = bounced(system)
    if last == DIED:
        slack_dies(system)
    else:
        system.slack.fail("status", status=503, times=1)
        system.consume(Channel.SLACK)
    marked_unneeded(system, request_id)
    slack = next(each for each in system.show(request_id)["deliveries"] if each["channel"] == "slack")
    assert slack["status"] != "sending"
    assert "next_attempt_at" not in slack


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "not counted yet"])
def test_the_reconciler_counts_a_fallback_just_published_again_neither_as_stuck_nor_as_lost(
    system: World,
    counted: bool,  # noqa: FBT001
) -> None:
    request_id = bounced(system)
    slack_dies(system)
    marked_unneeded(system, request_id)
    bounces_again(system, 1)
    assert len(system.bodies(Channel.SLACK)) == 1
    system.advance(5)
    with patch("assistance.engine.dead_letters.depth", return_value=Depth(int(counted), 0)):
        found = sweep(system)
    assert (found["stuck"], found["lost"]) == ([], [])


@pytest.mark.parametrize("tried", [False, True])
def test_a_fallback_started_a_second_time_does_not_fail_because_of_a_dead_letter_from_its_first_start(
    system: World,
    tried: bool,  # noqa: FBT001
) -> None:
    """Its bot would get the status `failed` while a message is on its way. `tried`: Slack has refused an attempt."""
    system.calls_back = True
    request_id = bounced(system)
    system.lose_to_subscription_dlq(Channel.SLACK)
    send_again(system, request_id, Channel.EMAIL, "once more")
    system.consume(Channel.EMAIL)
    assert sweep(system)["dead_lettered"] == []
    system.advance(86_400)
    bounces_again(system, 1)
    if tried:
        system.slack.fail("status", status=503, times=1)
        system.consume(Channel.SLACK)
        system.advance(60)
    found = sweep(system)
    assert (found["dead_lettered"], found["open"]) == ([], 1)
    system.settle()
    assert told(system) == ["delivered"]


def test_a_fallback_started_a_second_time_fails_if_its_message_becomes_a_dead_letter_again(system: World) -> None:
    request_id = bounced(system)
    system.lose_to_subscription_dlq(Channel.SLACK)
    send_again(system, request_id, Channel.EMAIL, "once more")
    system.consume(Channel.EMAIL)
    system.advance(86_400)
    bounces_again(system, 1)
    system.lose_to_subscription_dlq(Channel.SLACK)
    assert sweep(system)["dead_lettered"] == [request_id]
    assert status(system, request_id) == "failed"


@pytest.mark.parametrize("died", [False, True])
def test_the_reconciler_counts_a_lost_request_once_although_it_publishes_the_request_again(
    system: World,
    died: bool,  # noqa: FBT001
) -> None:
    """SQS may still report the queue as empty after the second publication: its numbers may be a minute old.

    `died`: the consumer was killed before it posted the request.
    """
    request_id = published(system, Topic.SALES, "key")
    if died:
        slack_dies(system)
    system.aws.purge(Channel.SLACK)
    system.advance(1_000)
    assert sweep(system)["lost"] == [request_id]
    system.advance(50)
    system.produce()
    assert len(system.bodies(Channel.SLACK)) == 1
    system.advance(10)
    with patch("assistance.engine.dead_letters.depth", return_value=Depth(0, 0)):
        found = sweep(system)
    assert (found["lost"], found["stuck"]) == ([], [])


@pytest.mark.parametrize("tried", [False, True])
def test_the_age_of_a_fallback_started_a_second_time_counts_from_the_second_failure(system: World, tried: bool) -> None:  # noqa: FBT001
    """Two alarms use this age. `tried`: the fallback made an attempt before it was cancelled the first time."""
    request_id = bounced(system)
    if tried:
        system.slack.fail("status", status=503, times=1)
        system.consume(Channel.SLACK)
    marked_unneeded(system, request_id)
    bounces_again(system, 1)
    system.advance(60)
    found = sweep(system)
    assert found["open"] == 1
    assert (found["oldest_open_seconds"], found["oldest_pending_seconds"]) == (60, {Channel.SLACK: 60})


def test_the_age_of_a_fallback_caused_by_the_bounce_of_a_resent_mail_counts_from_the_bounce(system: World) -> None:
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    request_id = published(system, Topic.PRICING, "key")
    system.consume(Channel.EMAIL)
    system.heal()
    system.produce()
    marked_unneeded(system, request_id)
    bounces_again(system, 0)
    system.advance(60)
    found = sweep(system)
    assert (found["oldest_open_seconds"], found["oldest_pending_seconds"]) == (60, {Channel.SLACK: 60})


def test_the_message_of_a_fallback_started_a_second_time_says_which_channel_failed(
    system: World, deploy: Deploy
) -> None:
    """A delivered resend cancels the fallback that the failed email has started. Teams fails, and starts it again."""
    deploy(["email", "teams"], "slack")
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    request_id = accepted(system)
    system.consume(Channel.EMAIL)
    system.heal()
    send_again(system, request_id, Channel.EMAIL, "once more")
    system.consume(Channel.EMAIL)
    system.produce()
    system.consume(Channel.SLACK)
    assert not system.bodies(Channel.SLACK)
    system.advance(3 * 3_600)
    while system.consume(Channel.TEAMS):
        # The Teams channel has no workflow URL.
        system.advance(60)
    system.produce()
    system.consume(Channel.SLACK)
    [post] = system.slack.messages
    assert "the Teams message could not be posted" in json.dumps(post["blocks"])
    assert system.show(request_id)["fallback"]["failed_channel"] == "teams"
