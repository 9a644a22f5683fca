"""Tests topics with two channels. Each channel may fail, be redriven, or lose its message."""

import json

import pytest

from assistance.routing import CALLBACK, Channel
from tests.faults.conftest import Deploy
from tests.faults.fault_injection import Kind
from tests.faults.test_failures_of_other_designs import send_again
from tests.faults.world import World


def accepted(here: World) -> str:
    request_id = here.accept_for_sure("support", "hush", "key")
    here.produce()
    return request_id


def status(here: World, request_id: str) -> str:
    return str(here.show(request_id)["status"])


@pytest.mark.parametrize("other", ["queued", "retrying"])
def test_a_request_that_failed_on_two_channels_has_status_failed_until_both_channels_have_delivered(
    here: World, deploy: Deploy, other: str
) -> None:
    deploy(["slack", "email"], None)
    here.slack.fail("error", error="is_archived")
    request_id = accepted(here)
    here.consume(Channel.SLACK)
    if other == "retrying":
        here.injector.outage = lambda name: Kind.TIMEOUT_BEFORE if name == "sesv2.SendEmail" else None
        here.consume(Channel.EMAIL)
    here.heal()
    here.redrive()
    here.consume(Channel.SLACK)
    assert status(here, request_id) == "failed"
    here.advance(60)
    here.consume(Channel.EMAIL)
    assert status(here, request_id) == "delivered"


def test_a_request_whose_messages_to_two_channels_were_lost_is_published_again_in_one_message(
    here: World, deploy: Deploy
) -> None:
    deploy(["slack", "email"], None)
    request_id = accepted(here)
    for channel in (Channel.SLACK, Channel.EMAIL):
        here.aws.purge(channel)
    here.advance(1_000)
    found = here.reconcile()
    assert found
    assert found["ledger"]["lost"] == [request_id]
    here.produce()
    for channel in (Channel.SLACK, Channel.EMAIL):
        here.consume(channel)
    assert status(here, request_id) == "delivered"


def test_the_reconciler_checks_a_request_again_after_the_fallback_mail_bounced(here: World, deploy: Deploy) -> None:
    deploy(["slack", "teams"], "email")
    here.slack.fail("error", error="is_archived")
    request_id = accepted(here)
    here.consume(Channel.SLACK)
    here.produce()
    here.consume(Channel.EMAIL)
    here.advance(60)
    assert (found := here.reconcile())
    assert (status(here, request_id), found["ledger"]["open"]) == ("delivered", 0)
    here.say_of_mail("bounce", 0)
    here.bring_feedback()
    here.advance(60)
    assert (found := here.reconcile())
    assert (status(here, request_id), found["ledger"]["open"]) == ("failed", 1), "teams has it in its queue"


def test_a_redrive_does_not_wait_for_a_cancelled_fallback_that_was_removed_from_the_route(
    here: World, deploy: Deploy
) -> None:
    deploy(["email"], "slack")
    request_id = accepted(here)
    here.consume(Channel.EMAIL)
    here.advance(60)
    here.reconcile()
    here.say_of_mail("bounce", 0)
    here.bring_feedback()
    here.produce()
    send_again(here, request_id, Channel.EMAIL, "once more")
    here.consume(Channel.EMAIL)
    here.consume(Channel.SLACK)
    assert not here.bodies(Channel.SLACK)
    here.advance(60)
    here.reconcile()
    deploy(["email"], None)
    here.say_of_mail("bounce", 1)
    here.bring_feedback()
    here.redrive()
    for _ in range(30):
        here.advance(60)
        here.reconcile()
        here.produce()
        for channel in (Channel.SLACK, Channel.EMAIL):
            here.consume(channel)
    assert status(here, request_id) == "delivered"
    assert not here.bodies(*Channel)


def published_at_once_to_its_own_channel_and_the_fallback(here: World, deploy: Deploy) -> str:
    deploy(["teams", "slack"], "email")
    request_id = accepted(here)
    while here.consume(Channel.TEAMS):
        # The Teams channel has no workflow URL.
        here.advance(60)
    here.produce()
    for channel in (Channel.SLACK, Channel.EMAIL):
        here.aws.purge(channel)
    here.advance(1_000)
    assert here.reconcile()
    here.produce()
    return request_id


def test_a_message_on_a_channel_of_the_route_does_not_say_that_it_was_sent_as_a_fallback(
    here: World, deploy: Deploy
) -> None:
    request_id = published_at_once_to_its_own_channel_and_the_fallback(here, deploy)
    here.consume(Channel.EMAIL)
    here.consume(Channel.SLACK)
    assert (here.posts(), here.mails()) == ({(request_id, None): 1}, {request_id: 1})
    [post] = here.slack.messages
    assert "Sent here because" not in json.dumps(post["blocks"])


def test_a_redriven_message_does_not_wait_for_the_redriven_delivery_itself(here: World, deploy: Deploy) -> None:
    request_id = published_at_once_to_its_own_channel_and_the_fallback(here, deploy)
    here.slack.fail("error", error="is_archived")
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    here.consume(Channel.SLACK)
    here.consume(Channel.EMAIL)
    here.heal()
    here.redrive()
    here.consume(Channel.SLACK)
    assert here.posts() == {(request_id, None): 1}


def told(here: World) -> list[str]:
    """Return the statuses in the bot's callbacks, each callback once."""
    return [json.loads(body)["data"]["status"] for body in dict.fromkeys(call.body for call in here.bot.calls)]


def run_on(here: World) -> None:
    for _ in range(20):
        here.produce()
        for destination in (*Channel, CALLBACK):
            here.consume(destination)
        here.advance(200)
        here.reconcile()


def test_the_bot_gets_a_callback_if_a_resend_has_already_delivered_the_request_on_the_fallback_channel(
    here: World, deploy: Deploy
) -> None:
    here.calls_back = True
    deploy(["slack"], "email")
    here.slack.fail("status", status=503)
    request_id = accepted(here)
    here.consume(Channel.SLACK)
    send_again(here, request_id, Channel.EMAIL, "to be sure")
    run_on(here)
    assert (status(here, request_id), told(here)) == ("delivered", ["delivered"])


def test_a_route_change_does_not_affect_a_request_that_was_accepted_before(here: World, deploy: Deploy) -> None:
    here.calls_back = True
    deploy(["slack"], None)
    here.slack.fail("error", error="is_archived")
    request_id = accepted(here)
    run_on(here)
    assert (status(here, request_id), told(here)) == ("failed", ["failed"])
    deploy(["slack"], "email")
    here.redrive()
    run_on(here)
    assert (status(here, request_id), here.mails()) == ("failed", {})
    assert set(told(here)) == {"failed"}


def test_a_channel_on_which_a_request_was_sent_does_not_become_its_fallback_after_a_route_change(
    here: World, deploy: Deploy
) -> None:
    here.calls_back = True
    deploy(["slack", "email"], None)
    here.slack.fail("error", error="is_archived")
    request_id = accepted(here)
    here.consume(Channel.EMAIL)
    deploy(["slack"], "email")
    run_on(here)
    assert (status(here, request_id), told(here)) == ("failed", ["failed"])


def test_a_request_that_the_fallback_has_delivered_is_no_longer_open(here: World, deploy: Deploy) -> None:
    deploy(["slack", "teams"], "email")
    here.slack.fail("error", error="is_archived")
    request_id = accepted(here)
    here.consume(Channel.TEAMS)
    here.consume(Channel.SLACK)
    here.produce()
    here.consume(Channel.EMAIL)
    here.advance(60)
    assert (found := here.reconcile())
    assert (status(here, request_id), found["ledger"]["open"]) == ("delivered", 0)


def refused_everywhere(here: World, deploy: Deploy, channels: list[str], fallback: str) -> str:
    """Create a request whose first channel and fallback have failed permanently. Then Slack and email work again."""
    deploy(channels, fallback)
    here.slack.fail("error", error="is_archived")
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    request_id = accepted(here)
    here.consume(Channel(channels[0]))
    here.produce()
    here.consume(Channel(fallback))
    here.heal()
    return request_id


def test_a_redriven_fallback_message_is_not_sent_after_the_channel_that_had_failed_has_delivered(
    here: World, deploy: Deploy
) -> None:
    request_id = refused_everywhere(here, deploy, ["slack", "teams"], "email")
    here.redrive()
    here.consume(Channel.SLACK)
    here.consume(Channel.EMAIL)
    assert (here.posts(), here.mails()) == ({(request_id, None): 1}, {})


def test_a_request_whose_mail_bounced_is_sent_to_the_fallback_although_the_fallback_had_failed_before(
    here: World, deploy: Deploy
) -> None:
    request_id = refused_everywhere(here, deploy, ["email"], "slack")
    here.redrive()
    here.consume(Channel.EMAIL)
    here.consume(Channel.SLACK)
    assert (here.posts(), here.mails()) == ({}, {request_id: 1})
    here.say_of_mail("bounce", 0)
    here.bring_feedback()
    run_on(here)
    assert (status(here, request_id), here.posts()) == ("delivered", {(request_id, None): 1})
