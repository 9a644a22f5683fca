"""Tests escalations of requests that also need a fallback or a resend on the same channel."""

from collections.abc import Iterator

import pytest

from assistance.routing import Channel, Topic
from tests.faults.fault_injection import Kind
from tests.faults.humans import ESCALATE_AFTER, STAFFED
from tests.faults.system import ATTEMPTS
from tests.faults.test_failures_of_other_designs import break_at, published
from tests.faults.world import World


@pytest.fixture(autouse=True)
def _staffed(system: World) -> Iterator[None]:
    system.deploy(STAFFED)
    yield
    system.deploy({})


def escalated(system: World, topic: Topic = Topic.PRICING) -> str:
    """Create a request that its own channel has delivered, and whose escalation is in the other channel's queue."""
    own, other = (Channel.EMAIL, Channel.SLACK) if topic == Topic.PRICING else (Channel.SLACK, Channel.EMAIL)
    request_id = published(system, topic, "key")
    system.consume(own)
    system.advance(60 * (ESCALATE_AFTER + 1))
    system.reconcile()
    system.produce()
    assert system.bodies(other)
    return request_id


def bounces(system: World, mail: int) -> None:
    system.publish_mail_event("bounce", mail)
    system.bring_feedback()
    system.produce()


@pytest.mark.parametrize("kind", [Kind.CRASH_AFTER, Kind.TIMEOUT_AFTER])
def test_the_fallback_is_not_posted_if_an_escalation_in_doubt_has_posted_the_request(system: World, kind: Kind) -> None:
    request_id = escalated(system)
    break_at(system, "http.chat.postMessage", kind, lambda: system.consume(Channel.SLACK))
    bounces(system, 0)
    system.settle()
    assert (system.show(request_id)["status"], system.posts().total()) == ("delivered", 1)


def fail_on_both_channels_in_doubt(system: World) -> None:
    """SES rejects the mail. Then the fallback fails on Slack, but its last attempt has posted the request."""
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    system.consume(Channel.EMAIL)
    system.injector.outage = lambda _: None
    system.produce()
    system.slack.fail("status", status=503, times=ATTEMPTS - 1)
    for _ in range(ATTEMPTS - 1):
        system.consume(Channel.SLACK)
        system.advance(200)
    break_at(system, "http.chat.postMessage", Kind.TIMEOUT_AFTER, lambda: system.consume(Channel.SLACK))


def test_an_escalation_is_not_posted_if_the_last_attempt_of_a_failed_fallback_has_posted_the_request(
    system: World,
) -> None:
    request_id = published(system, Topic.PRICING, "key")
    fail_on_both_channels_in_doubt(system)
    assert system.show(request_id)["status"] == "failed"
    system.aws.purge("slack-dlq")
    system.advance(60)
    system.redrive()
    system.consume(Channel.EMAIL)
    assert system.show(request_id)["status"] == "delivered"
    system.advance(60 * (ESCALATE_AFTER + 1))
    system.reconcile()
    system.settle()
    assert (system.escalations(request_id), system.posts().total()) == (["delivered"], 1)


def test_a_dropped_escalation_is_published_again_once_a_redrive_has_delivered_the_request(system: World) -> None:
    """If nothing published it, the reconciler would count it as lost, which raises an alarm."""
    request_id = escalated(system)
    bounces(system, 0)
    system.slack.fail("error", error="is_archived", method="chat.postMessage")
    system.consume(Channel.SLACK)
    system.heal()
    assert system.show(request_id)["status"] == "failed"
    system.aws.purge("slack-dlq")
    system.redrive()
    system.consume(Channel.EMAIL)
    assert_escalated_again(system, request_id, Channel.SLACK)


def test_a_dropped_escalation_is_published_again_once_the_mail_of_a_resend_has_bounced(system: World) -> None:
    request_id = escalated(system, Topic.SALES)
    assert system.resend(request_id, Channel.EMAIL, "once more")
    [escalation] = system.bodies(Channel.EMAIL)
    system.aws.purge(Channel.EMAIL)
    system.produce()
    system.consume(Channel.EMAIL)
    system.cloud.sqs.send_message(QueueUrl=system.cloud.queues[Channel.EMAIL], MessageBody=escalation)
    system.consume(Channel.EMAIL)
    bounces(system, 0)
    assert_escalated_again(system, request_id, Channel.EMAIL)


def assert_escalated_again(system: World, request_id: str, channel: Channel) -> None:
    assert system.show(request_id)["status"] == "delivered"
    system.produce()
    assert system.bodies(channel)
    system.advance(1_000)
    swept = system.reconcile()
    assert swept
    assert swept["ledger"]["lost"] == []
    system.settle()
    assert system.escalations(request_id) == ["delivered"]


def test_an_escalation_needed_again_does_not_fail_because_of_a_dead_letter_from_before(system: World) -> None:
    """Nobody needs the escalation while a human has the request. So its first dead letter changes nothing."""
    request_id = escalated(system)
    system.lose_to_subscription_dlq(Channel.SLACK)
    system.take_by_command("Anna", request_id)
    system.advance(86_400)
    system.release_by_command("Anna", request_id)
    system.produce()
    swept = system.reconcile()
    assert swept
    assert (swept["ledger"]["dead_lettered"], swept["ledger"]["open"]) == ([], 1)
    system.settle()
    assert system.escalations(request_id) == ["delivered"]
