"""Tests wrong times: an operator's fast clock, and SES events with invalid times."""

import json
from datetime import timedelta
from functools import partial

import pytest

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.errors import Unreadable
from assistance.platform.clock import epoch_ms
from assistance.routing import Channel, Topic
from email_feedback.events import MalformedEvent
from tests.faults.fault_injection import Kind
from tests.faults.humans import ESCALATE_AFTER, STAFFED
from tests.faults.system import ATTEMPTS, requests
from tests.faults.test_open_requests import published
from tests.faults.world import World
from tests.integration.steps import example, sns_event

AN_HOUR = 3_600_000


def resent(record: Record, *, now: int) -> tuple[Record, None]:
    return transitions.resend(record, "resend-act", Channel.SLACK, now=now) or record, None


def test_the_next_reconciler_run_publishes_a_resend_dated_in_the_future_by_an_operators_fast_clock(
    system: World,
) -> None:
    request_id = published(system, Topic.SALES, "key")
    system.settle()
    requests().change(request_id, partial(resent, now=epoch_ms(system.now) + AN_HOUR))
    # The stream producer does not publish it.
    system.read_stream()
    system.stream.clear()
    system.advance(600)
    answer = system.reconcile()
    assert answer
    assert answer["outbox"]["published"] == 1


@pytest.mark.parametrize("time", ["1969-12-31T23:59:59.000Z", "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"])
def test_an_ses_event_with_an_invalid_time_is_rejected_as_malformed_and_the_request_stays_readable(
    system: World, time: str
) -> None:
    request_id = system.accept_for_sure(Topic.PRICING, "hush", "key")
    system.settle()
    event = example("delivery", request_id, system.aws.mails()[0].id)
    event["delivery"]["timestamp"] = time
    with pytest.raises(MalformedEvent):
        system.cloud.handler("email_feedback")(sns_event(json.dumps(event)), system.cloud.context)
    assert system.show(request_id)["status"] == "delivered"


@pytest.mark.parametrize("at", [-1, 2**60])
def test_a_delivery_record_that_could_not_be_parsed_again_is_not_written(system: World, at: int) -> None:
    request_id = system.accept_for_sure(Topic.PRICING, "hush", "key")
    system.settle()
    with pytest.raises(Unreadable):
        requests().update(request_id, partial(transitions.confirmed, result=system.aws.mails()[0].id, at=at))
    assert system.show(request_id)["status"] == "delivered"


def test_an_escalation_that_a_release_starts_again_has_all_its_attempts_although_the_operators_clock_is_slow(
    system: World,
) -> None:
    system.deploy(STAFFED)
    request_id = system.accept_for_sure(Topic.SALES, "help", "key")
    system.settle()
    system.advance(60 * ESCALATE_AFTER)
    system.reconcile()
    system.produce()
    system.injector.outage = lambda name: Kind.TIMEOUT_BEFORE if name == "sesv2.SendEmail" else None
    for _ in range(ATTEMPTS - 1):
        system.consume(Channel.EMAIL)
        system.advance(1_000)
    system.press_for_sure("anna", request_id)
    system.consume(Channel.EMAIL)
    system.traveller.move_to(system.now - timedelta(hours=1))
    system.release_by_command("operator", request_id)
    system.traveller.move_to(system.now + timedelta(hours=1))
    system.produce()
    system.consume(Channel.EMAIL)
    assert system.escalations(request_id) == ["retrying"]
    system.heal()
    system.settle()
    assert system.escalations(request_id) == ["delivered"]
