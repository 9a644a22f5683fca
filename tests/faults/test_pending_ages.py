"""Tests the ages that alarms use: a delivery that has just begun never counts as old."""

import pytest

from assistance.routing import Channel, Topic
from tests.faults.fault_injection import Kind
from tests.faults.test_open_requests import published, published_after_an_outage, sweep
from tests.faults.world import World


@pytest.mark.parametrize("before", ["the stream reads it", "SNS is well again", "its mark is written"])
def test_the_age_of_an_unpublished_resend_counts_from_the_time_of_the_operators_resend_command(
    system: World, before: str
) -> None:
    request_id = published(system, Topic.SALES, "key")
    system.settle()
    system.advance(86_400)
    sweep(system)
    assert system.resend(request_id, Channel.SLACK, "once more")
    broken = {"SNS is well again": "sns.PublishBatch", "its mark is written": "dynamodb.PutItem"}.get(before)
    if broken:
        system.injector.outage = lambda name: Kind.REFUSED if name == broken else None
        system.produce()
        system.heal()
        system.stream.clear()
    system.advance(5)
    found = sweep(system)
    assert (found["open"], found["oldest_open_seconds"]) == (1, 5)


def test_the_reported_age_of_a_postponed_resend_keeps_growing(system: World) -> None:
    request_id = published(system, Topic.SALES, "key")
    system.settle()
    system.advance(86_400)
    sweep(system)
    assert system.resend(request_id, Channel.SLACK, "once more")
    system.produce()
    system.slack.fail("rate_limited", retry_after=600)
    system.consume(Channel.SLACK)
    system.advance(300)
    found = sweep(system)
    assert (found["oldest_open_seconds"], found["oldest_pending_seconds"]) == (300, {Channel.SLACK: 300})


@pytest.mark.parametrize("meanwhile", ["another failure", "the consumer is off"])
def test_the_reported_age_of_a_postponed_delivery_keeps_growing_when_the_hour_of_its_rate_limit_begins_anew(
    system: World, meanwhile: str
) -> None:
    published(system, Topic.SALES, "key")
    system.produce()
    system.slack.fail("rate_limited", retry_after=60)
    system.consume(Channel.SLACK)
    if meanwhile == "another failure":
        system.advance(600)
        system.slack.fail("error", error="service_unavailable")
        system.consume(Channel.SLACK)
        assert sweep(system)["oldest_pending_seconds"] == {Channel.SLACK: 600}
        system.advance(600)
    else:
        system.advance(1_200)
    system.slack.fail("rate_limited", retry_after=600)
    system.consume(Channel.SLACK)
    system.advance(60)
    assert sweep(system)["oldest_pending_seconds"] == {Channel.SLACK: 1_260}


def test_the_reported_age_of_a_request_on_its_channel_excludes_the_time_of_an_sns_outage(system: World) -> None:
    """The alarm on the channel must not be raised. The request itself has been open during the whole outage."""
    published_after_an_outage(system)
    for waited in (0, 60):
        found = sweep(system)
        assert found["places"] == {"sales/slack/queued": 1}
        assert found["oldest_pending_seconds"] == {Channel.SLACK: waited}
        assert found["oldest_open_seconds"] == 1_200 + waited
        system.advance(60)
