"""Tests a fallback that was cancelled because it was not needed, and that a bounce starts a second time."""

import json
from unittest.mock import patch

import pytest

from assistance.engine.dead_letters import Depth
from assistance.routing import Channel, Topic
from tests.faults.conftest import Deploy
from tests.faults.fault_injection import Kind
from tests.faults.test_failures_of_other_designs import break_at, send_again
from tests.faults.test_open_requests import published, sweep
from tests.faults.test_two_channels import accepted, status
from tests.faults.world import World

DIED, REFUSED = "died", "503"


def bounced(here: World) -> str:
    """Create a request whose mail bounced and whose fallback message is in Slack's queue."""
    request_id = published(here, Topic.PRICING, "key")
    here.consume(Channel.EMAIL)
    bounces_again(here, 0)
    return request_id


def bounces_again(here: World, mail: int) -> None:
    here.say_of_mail("bounce", mail)
    here.bring_feedback()
    here.produce()


def slack_dies(here: World) -> None:
    break_at(here, "http.chat.postMessage", Kind.CRASH_BEFORE, lambda: here.consume(Channel.SLACK))


def marked_unneeded(here: World, request_id: str) -> None:
    """Deliver a resend by email before the fallback's next attempt, which cancels the fallback. A day passes."""
    send_again(here, request_id, Channel.EMAIL, "once more")
    here.consume(Channel.EMAIL)
    here.advance(200)
    here.consume(Channel.SLACK)
    assert not here.bodies(Channel.SLACK)
    assert status(here, request_id) == "delivered"
    assert sweep(here)["open"] == 0
    here.advance(86_400)


@pytest.mark.parametrize("last", [DIED, REFUSED])
def test_a_fallback_delivery_that_is_started_a_second_time_has_the_full_number_of_attempts(
    here: World, last: str
) -> None:
    request_id = bounced(here)
    here.slack.fail("status", status=503, times=2)
    for _ in range(2):
        here.consume(Channel.SLACK)
        here.advance(60)
    if last == DIED:
        slack_dies(here)
    marked_unneeded(here, request_id)
    if last == REFUSED:
        here.slack.fail("status", status=503, times=1)
    bounces_again(here, 1)
    for _ in range(5):
        here.consume(Channel.SLACK)
        here.advance(200)
    assert (status(here, request_id), here.posts().total()) == ("delivered", 1)


@pytest.mark.parametrize("last", [DIED, REFUSED])
def test_the_status_of_a_cancelled_fallback_delivery_shows_no_next_attempt(here: World, last: str) -> None:
    request_id = bounced(here)
    if last == DIED:
        slack_dies(here)
    else:
        here.slack.fail("status", status=503, times=1)
        here.consume(Channel.SLACK)
    marked_unneeded(here, request_id)
    slack = next(each for each in here.show(request_id)["deliveries"] if each["channel"] == "slack")
    assert slack["status"] != "sending"
    assert "next_attempt_at" not in slack


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "not counted yet"])
def test_the_reconciler_counts_a_fallback_just_published_again_neither_as_stuck_nor_as_lost(
    here: World,
    counted: bool,  # noqa: FBT001
) -> None:
    request_id = bounced(here)
    slack_dies(here)
    marked_unneeded(here, request_id)
    bounces_again(here, 1)
    assert len(here.bodies(Channel.SLACK)) == 1
    here.advance(5)
    with patch("assistance.engine.dead_letters.depth", return_value=Depth(int(counted), 0)):
        found = sweep(here)
    assert (found["stuck"], found["lost"]) == ([], [])


@pytest.mark.parametrize("died", [False, True])
def test_the_reconciler_counts_a_lost_request_once_although_it_publishes_the_request_again(
    here: World,
    died: bool,  # noqa: FBT001
) -> None:
    """The number of messages that SQS reports for a queue may be up to a minute old."""
    request_id = published(here, Topic.SALES, "key")
    if died:
        slack_dies(here)
    here.aws.purge(Channel.SLACK)
    here.advance(1_000)
    assert sweep(here)["lost"] == [request_id]
    here.advance(50)
    here.produce()
    assert len(here.bodies(Channel.SLACK)) == 1
    here.advance(10)
    with patch("assistance.engine.dead_letters.depth", return_value=Depth(0, 0)):
        found = sweep(here)
    assert (found["lost"], found["stuck"]) == ([], [])


@pytest.mark.parametrize("tried", [False, True])
def test_the_age_of_a_fallback_started_a_second_time_counts_from_the_second_failure(here: World, tried: bool) -> None:  # noqa: FBT001
    """Two alarms use the age of a fallback."""
    request_id = bounced(here)
    if tried:
        here.slack.fail("status", status=503, times=1)
        here.consume(Channel.SLACK)
    marked_unneeded(here, request_id)
    bounces_again(here, 1)
    here.advance(60)
    found = sweep(here)
    assert found["open"] == 1
    assert (found["oldest_open_seconds"], found["oldest_pending_seconds"]) == (60, {Channel.SLACK: 60})


def test_the_age_of_a_fallback_caused_by_the_bounce_of_a_resent_mail_counts_from_the_bounce(here: World) -> None:
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    request_id = published(here, Topic.PRICING, "key")
    here.consume(Channel.EMAIL)
    here.heal()
    here.produce()
    marked_unneeded(here, request_id)
    bounces_again(here, 0)
    here.advance(60)
    found = sweep(here)
    assert (found["oldest_open_seconds"], found["oldest_pending_seconds"]) == (60, {Channel.SLACK: 60})


def test_the_message_of_a_fallback_started_a_second_time_says_which_channel_failed(here: World, deploy: Deploy) -> None:
    """Email fails, and a resend by email is delivered, so the fallback is cancelled. Then Teams fails."""
    deploy(["email", "teams"], "slack")
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    request_id = accepted(here)
    here.consume(Channel.EMAIL)
    here.heal()
    send_again(here, request_id, Channel.EMAIL, "once more")
    here.consume(Channel.EMAIL)
    here.produce()
    here.consume(Channel.SLACK)
    assert not here.bodies(Channel.SLACK)
    here.advance(3 * 3_600)
    while here.consume(Channel.TEAMS):
        # The Teams channel has no workflow URL.
        here.advance(60)
    here.produce()
    here.consume(Channel.SLACK)
    [post] = here.slack.messages
    assert "the Teams message could not be posted" in json.dumps(post["blocks"])
    assert here.show(request_id)["fallback"]["failed_channel"] == "teams"
