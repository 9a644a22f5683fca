"""Tests SES's reports about mails of a fallback that became unnecessary before its attempt in doubt was repeated."""

import pytest

from assistance.routing import Channel, Topic
from tests.faults.fault_injection import Kind
from tests.faults.test_failures_of_other_designs import send_again
from tests.faults.world import World


@pytest.mark.parametrize("report", ["delivery", "bounce"])
def test_a_report_about_a_mail_in_doubt_of_a_fallback_that_nobody_needs_any_more_is_no_failed_event(
    system: World, report: str
) -> None:
    system.slack.fail("error", error="is_archived")
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.produce()
    system.consume(Channel.SLACK)
    system.produce()
    system.injector.outage = lambda name: Kind.TIMEOUT_AFTER if name == "sesv2.SendEmail" else None
    system.consume(Channel.EMAIL)
    system.heal()
    send_again(system, request_id, Channel.SLACK, "again")
    system.produce()
    system.consume(Channel.SLACK)
    system.advance(60)
    system.consume(Channel.EMAIL)
    assert system.show(request_id)["status"] == "delivered"
    assert not system.bodies(Channel.EMAIL, Channel.SLACK)
    system.publish_mail_event(report, 0)
    for _ in range(3):
        system.bring_feedback()
        system.advance(120)
    assert not system.failures
    assert system.show(request_id)["status"] == "delivered"
