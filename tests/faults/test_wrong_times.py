"""Tests wrong times: an operator's fast clock, and SES events with invalid times."""

import json
from functools import partial

import pytest

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.errors import Unreadable
from assistance.platform.clock import epoch_ms
from assistance.routing import Channel, Topic
from email_feedback.events import MalformedEvent
from tests.faults.system import requests
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
