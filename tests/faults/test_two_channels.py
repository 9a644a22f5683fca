"""Tests topics with two channels. Each channel may fail, be redriven, or lose its message."""

import json

import pytest

from assistance.routing import CALLBACK, Channel
from tests.faults.conftest import Deploy
from tests.faults.fault_injection import Kind
from tests.faults.test_failures_of_other_designs import send_again
from tests.faults.world import World


def accepted(system: World) -> str:
    request_id = system.accept_for_sure("support", "hush", "key")
    system.produce()
    return request_id


def status(system: World, request_id: str) -> str:
    return str(system.show(request_id)["status"])


@pytest.mark.parametrize("other", ["queued", "retrying"])
def test_a_request_that_failed_on_two_channels_has_status_failed_until_both_channels_have_delivered(
    system: World, deploy: Deploy, other: str
) -> None:
    deploy(["slack", "email"], None)
    system.slack.fail("error", error="is_archived")
    request_id = accepted(system)
    system.consume(Channel.SLACK)
    if other == "retrying":
        system.injector.outage = lambda name: Kind.TIMEOUT_BEFORE if name == "sesv2.SendEmail" else None
        system.consume(Channel.EMAIL)
    system.heal()
    system.redrive()
    system.consume(Channel.SLACK)
    assert status(system, request_id) == "failed"
    system.advance(60)
    system.consume(Channel.EMAIL)
    assert status(system, request_id) == "delivered"


def test_a_request_whose_messages_to_two_channels_were_lost_is_published_again_in_one_message(
    system: World, deploy: Deploy
) -> None:
    deploy(["slack", "email"], None)
    request_id = accepted(system)
    for channel in (Channel.SLACK, Channel.EMAIL):
        system.aws.purge(channel)
    system.advance(1_000)
    found = system.reconcile()
    assert found
    assert found["ledger"]["lost"] == [request_id]
    system.produce()
    for channel in (Channel.SLACK, Channel.EMAIL):
        system.consume(channel)
    assert status(system, request_id) == "delivered"


def arrives_by_mail(system: World, request_id: str) -> None:
    """Let the fallback deliver the request, and the reconciler see that it is finished."""
    system.produce()
    system.consume(Channel.EMAIL)
    system.advance(60)
    assert (found := system.reconcile())
    assert (status(system, request_id), found["ledger"]["open"]) == ("delivered", 0)


def test_the_reconciler_checks_a_request_again_after_the_fallback_mail_bounced(system: World, deploy: Deploy) -> None:
    deploy(["slack", "teams"], "email")
    system.slack.fail("error", error="is_archived")
    request_id = accepted(system)
    system.consume(Channel.SLACK)
    arrives_by_mail(system, request_id)
    system.publish_mail_event("bounce", 0)
    system.bring_feedback()
    system.advance(60)
    assert (found := system.reconcile())
    assert (status(system, request_id), found["ledger"]["open"]) == ("failed", 1), "teams has it in its queue"


def test_a_redrive_does_not_wait_for_a_cancelled_fallback_that_was_removed_from_the_route(
    system: World, deploy: Deploy
) -> None:
    deploy(["email"], "slack")
    request_id = accepted(system)
    system.consume(Channel.EMAIL)
    system.advance(60)
    system.reconcile()
    system.publish_mail_event("bounce", 0)
    system.bring_feedback()
    system.produce()
    send_again(system, request_id, Channel.EMAIL, "once more")
    system.consume(Channel.EMAIL)
    system.consume(Channel.SLACK)
    assert not system.bodies(Channel.SLACK)
    system.advance(60)
    system.reconcile()
    deploy(["email"], None)
    system.publish_mail_event("bounce", 1)
    system.bring_feedback()
    system.redrive()
    for _ in range(30):
        system.advance(60)
        system.reconcile()
        system.produce()
        for channel in (Channel.SLACK, Channel.EMAIL):
            system.consume(channel)
    assert status(system, request_id) == "delivered"
    assert not system.bodies(*Channel)


def published_at_once_to_its_own_channel_and_the_fallback(system: World, deploy: Deploy) -> str:
    deploy(["teams", "slack"], "email")
    request_id = accepted(system)
    while system.consume(Channel.TEAMS):
        # The Teams channel has no workflow URL.
        system.advance(60)
    system.produce()
    for channel in (Channel.SLACK, Channel.EMAIL):
        system.aws.purge(channel)
    system.advance(1_000)
    assert system.reconcile()
    system.produce()
    return request_id


def test_a_message_on_a_channel_of_the_route_does_not_say_that_it_was_sent_as_a_fallback(
    system: World, deploy: Deploy
) -> None:
    request_id = published_at_once_to_its_own_channel_and_the_fallback(system, deploy)
    system.consume(Channel.EMAIL)
    system.consume(Channel.SLACK)
    assert (system.posts(), system.mails()) == ({(request_id, None): 1}, {request_id: 1})
    [post] = system.slack.messages
    assert "Sent here because" not in json.dumps(post["blocks"])


def test_a_redriven_message_does_not_wait_for_the_redriven_delivery_itself(system: World, deploy: Deploy) -> None:
    request_id = published_at_once_to_its_own_channel_and_the_fallback(system, deploy)
    system.slack.fail("error", error="is_archived")
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    system.consume(Channel.SLACK)
    system.consume(Channel.EMAIL)
    system.heal()
    system.redrive()
    system.consume(Channel.SLACK)
    assert system.posts() == {(request_id, None): 1}


def callback_statuses(system: World) -> list[str]:
    """Return the statuses in the bot's callbacks, each callback once."""
    return [json.loads(body)["data"]["status"] for body in dict.fromkeys(call.body for call in system.bot.calls)]


def run_on(system: World) -> None:
    for _ in range(20):
        system.produce()
        for destination in (*Channel, CALLBACK):
            system.consume(destination)
        system.advance(200)
        system.reconcile()


def test_the_bot_gets_a_callback_if_a_resend_has_already_delivered_the_request_on_the_fallback_channel(
    system: World, deploy: Deploy
) -> None:
    system.calls_back = True
    deploy(["slack"], "email")
    system.slack.fail("status", status=503)
    request_id = accepted(system)
    system.consume(Channel.SLACK)
    send_again(system, request_id, Channel.EMAIL, "to be sure")
    run_on(system)
    assert (status(system, request_id), callback_statuses(system)) == ("delivered", ["delivered"])


def test_a_route_change_does_not_affect_a_request_that_was_accepted_before(system: World, deploy: Deploy) -> None:
    system.calls_back = True
    deploy(["slack"], None)
    system.slack.fail("error", error="is_archived")
    request_id = accepted(system)
    run_on(system)
    assert (status(system, request_id), callback_statuses(system)) == ("failed", ["failed"])
    deploy(["slack"], "email")
    system.redrive()
    run_on(system)
    assert (status(system, request_id), system.mails()) == ("failed", {})
    assert set(callback_statuses(system)) == {"failed"}


def test_a_channel_on_which_a_request_was_sent_does_not_become_its_fallback_after_a_route_change(
    system: World, deploy: Deploy
) -> None:
    system.calls_back = True
    deploy(["slack", "email"], None)
    system.slack.fail("error", error="is_archived")
    request_id = accepted(system)
    system.consume(Channel.EMAIL)
    deploy(["slack"], "email")
    run_on(system)
    assert (status(system, request_id), callback_statuses(system)) == ("failed", ["failed"])


def test_a_request_that_the_fallback_has_delivered_is_no_longer_open(system: World, deploy: Deploy) -> None:
    deploy(["slack", "teams"], "email")
    system.slack.fail("error", error="is_archived")
    request_id = accepted(system)
    system.consume(Channel.TEAMS)
    system.consume(Channel.SLACK)
    arrives_by_mail(system, request_id)


def refused_everywhere(system: World, deploy: Deploy, channels: list[str], fallback: str) -> str:
    """Create a request whose first channel and fallback have failed permanently. Then Slack and email work again."""
    deploy(channels, fallback)
    system.slack.fail("error", error="is_archived")
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    request_id = accepted(system)
    system.consume(Channel(channels[0]))
    system.produce()
    system.consume(Channel(fallback))
    system.heal()
    return request_id


def test_a_redriven_fallback_message_is_not_sent_after_the_channel_that_had_failed_has_delivered(
    system: World, deploy: Deploy
) -> None:
    request_id = refused_everywhere(system, deploy, ["slack", "teams"], "email")
    system.redrive()
    system.consume(Channel.SLACK)
    system.consume(Channel.EMAIL)
    assert (system.posts(), system.mails()) == ({(request_id, None): 1}, {})


def test_a_request_whose_mail_bounced_is_sent_to_the_fallback_although_the_fallback_had_failed_before(
    system: World, deploy: Deploy
) -> None:
    request_id = refused_everywhere(system, deploy, ["email"], "slack")
    system.redrive()
    system.consume(Channel.EMAIL)
    system.consume(Channel.SLACK)
    assert (system.posts(), system.mails()) == ({}, {request_id: 1})
    system.publish_mail_event("bounce", 0)
    system.bring_feedback()
    run_on(system)
    assert (status(system, request_id), system.posts()) == ("delivered", {(request_id, None): 1})
