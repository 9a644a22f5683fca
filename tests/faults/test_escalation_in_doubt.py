"""Tests that Slack shows a request once although both its escalation and its fallback go to Slack."""

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


def escalated(system: World) -> str:
    """Create a request that was sent by email, and whose escalation is in Slack's queue."""
    request_id = published(system, Topic.PRICING, "key")
    system.consume(Channel.EMAIL)
    system.advance(60 * (ESCALATE_AFTER + 1))
    system.reconcile()
    system.produce()
    assert system.bodies(Channel.SLACK)
    return request_id


@pytest.mark.parametrize("kind", [Kind.CRASH_AFTER, Kind.TIMEOUT_AFTER])
def test_the_fallback_is_not_posted_if_an_escalation_in_doubt_has_posted_the_request(system: World, kind: Kind) -> None:
    request_id = escalated(system)
    break_at(system, "http.chat.postMessage", kind, lambda: system.consume(Channel.SLACK))
    system.publish_mail_event("bounce", 0)
    system.bring_feedback()
    system.settle()
    assert (system.show(request_id)["status"], system.posts().total()) == ("delivered", 1)


def test_an_escalation_is_not_posted_if_the_last_attempt_of_a_failed_fallback_has_posted_the_request(
    system: World,
) -> None:
    request_id = published(system, Topic.PRICING, "key")
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    system.consume(Channel.EMAIL)
    system.produce()
    system.slack.fail("status", status=503, times=ATTEMPTS - 1)
    for _ in range(ATTEMPTS - 1):
        system.consume(Channel.SLACK)
        system.advance(200)
    break_at(system, "http.chat.postMessage", Kind.TIMEOUT_AFTER, lambda: system.consume(Channel.SLACK))
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
