"""Tests redrives and resends that coincide with running attempts, bounces and duplicate messages."""

from unittest.mock import patch

import pytest

from assistance.routing import Channel, Topic
from assistance.store.requests import request_key
from infra.retries import MAX_RECEIVES
from tests.faults.fault_injection import Fault, Kind
from tests.faults.test_failures_of_other_designs import break_at, published, send_again
from tests.faults.world import World

OWN, FALLBACK = Channel.SLACK, Channel.EMAIL


def test_an_idempotency_key_reused_after_its_request_expired_creates_a_new_request(here: World) -> None:
    """DynamoDB deletes expired items one by one, within days after their `ttl`."""
    request_id = here.accept_for_sure(Topic.SALES, "hush", "key")
    here.settle()
    here.advance(91 * 86_400)
    here.cloud.table.delete_item(Key=request_key(request_id))
    assert here.accept_for_sure(Topic.SALES, "another question", "key") == request_id
    assert here.show(request_id)["deliveries"] == []
    here.produce()
    here.consume(Channel.SLACK)
    assert here.posts()[request_id, None] == 2
    assert here.show(request_id)["deliveries"][0]["attempts"] == 1


def failed_on_both(here: World) -> str:
    request_id = here.accept_for_sure(Topic.SALES, "hush", "key")
    here.slack.fail("error", error="is_archived")
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    here.settle()
    here.heal()
    return request_id


@pytest.mark.parametrize(("first", "second"), [(OWN, FALLBACK), (FALLBACK, OWN)])
@pytest.mark.parametrize("call", range(4))
def test_redriving_two_dead_letters_of_one_request_sends_one_message(
    here: World, first: Channel, second: Channel, call: int
) -> None:
    """The second dead letter is redriven just before each call of the first one's delivery."""
    request_id = failed_on_both(here)
    here.redrive()
    here.injector.plan(None, (call, lambda: here.consume(second)))
    here.consume(first)
    here.injector.plan(None)
    here.settle()
    assert here.show(request_id)["status"] == "delivered"
    assert here.posts()[request_id, None] + here.mails()[request_id] == 1


def redriven_on_slack(here: World) -> str:
    """Redrive a failed request. Slack then responds 503 once, so that the next attempt is due soon."""
    request_id = failed_on_both(here)
    here.redrive()
    here.aws.purge(Channel.EMAIL)
    here.slack.fail("status", status=503, times=1)
    here.consume(Channel.SLACK)
    here.slack.fail("none")
    return request_id


def test_a_resend_is_refused_while_a_redriven_message_waits_for_the_next_attempt(here: World) -> None:
    request_id = redriven_on_slack(here)
    assert not here.resend(request_id, Channel.SLACK, "once more")


@pytest.mark.parametrize("call", range(4))
def test_a_resend_is_refused_while_an_attempt_with_a_redriven_message_is_running(here: World, call: int) -> None:
    """The resend is tried just before one of the calls of the attempt."""
    request_id = redriven_on_slack(here)
    here.advance(60)
    here.injector.plan(None, (call, lambda: here.resend(request_id, Channel.SLACK, "once more")))
    here.consume(Channel.SLACK)
    here.injector.plan(None)
    here.settle()
    assert here.posts() == {(request_id, None): 1}


def test_a_resend_is_possible_after_a_redriven_message_was_dropped_because_the_request_was_already_delivered(
    here: World,
) -> None:
    request_id = redriven_on_slack(here)
    assert here.resend(request_id, Channel.EMAIL, "by mail")
    here.settle()
    assert here.resend(request_id, Channel.SLACK, "once more")


def test_a_delivered_resend_is_not_sent_again_while_another_resend_waits(here: World) -> None:
    request_id = here.accept_for_sure(Topic.SALES, "hush", "key")
    here.settle()
    send_again(here, request_id, Channel.SLACK, "one")
    (body,) = here.bodies(Channel.SLACK)
    here.consume(Channel.SLACK)
    here.slack.fail("rate_limited", retry_after=60, times=1)
    send_again(here, request_id, Channel.SLACK, "two")
    here.consume(Channel.SLACK)
    here.cloud.sqs.send_message(QueueUrl=here.cloud.queues[Channel.SLACK], MessageBody=body)
    here.settle()
    assert here.posts() == {(request_id, None): 1, (request_id, "one"): 1, (request_id, "two"): 1}


def test_a_bounce_is_recorded_although_an_operator_starts_a_resend_at_the_same_time(here: World) -> None:
    request_id = here.accept_for_sure(Topic.PRICING, "hush", "key")
    here.settle()
    here.say_of_mail("bounce", 0)
    send_again(here, request_id, Channel.EMAIL, "once more")

    def begin() -> None:
        here.injector.plan(Fault(1, Kind.TIMEOUT_BEFORE))
        here.consume(Channel.EMAIL)

    here.injector.plan(None, (2, begin))
    here.bring_feedback()
    here.injector.plan(None)
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    here.advance(60)
    here.consume(Channel.EMAIL)
    here.settle()
    assert here.posts() == {(request_id, None): 1}, "by the fallback"


@pytest.mark.parametrize("ends", ["delivered", "failed"])
def test_a_resend_on_a_channel_that_is_not_in_the_route_changes_no_other_delivery(here: World, ends: str) -> None:
    here.slack.fail("status", status=503, times=1)
    request_id = here.accept_for_sure(Topic.SALES, "hush", "key")
    here.produce()
    here.consume(Channel.SLACK)
    send_again(here, request_id, Channel.EMAIL, "to be sure")
    if ends == "failed":
        here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    here.consume(Channel.EMAIL)
    shown = here.show(request_id)
    assert {each["channel"]: each["status"] for each in shown["deliveries"]} == {"slack": "retrying", "email": ends}
    assert (shown["status"], shown.get("fallback")) == ("retrying", None)
    here.settle()
    assert here.posts() == {(request_id, None): 1}


def posted_and_killed(here: World, request_id: str) -> None:
    """Post a resend whose consumer is then killed. Slack rate limits the next attempt's search for the post."""
    send_again(here, request_id, Channel.SLACK, "one")
    break_at(here, "http.chat.postMessage", Kind.CRASH_AFTER, lambda: here.consume(Channel.SLACK, 1))
    here.advance(200)
    here.slack.fail("rate_limited", retry_after=60, times=1)
    here.consume(Channel.SLACK, 1)
    here.heal()


def test_the_unknown_outcome_of_a_resend_is_remembered_after_a_rate_limit_and_a_second_resend(here: World) -> None:
    request_id = here.accept_for_sure(Topic.SALES, "hush", "key")
    here.settle()
    posted_and_killed(here, request_id)
    send_again(here, request_id, Channel.SLACK, "two")
    here.settle()
    assert here.posts() == {(request_id, None): 1, (request_id, "one"): 1, (request_id, "two"): 1}


def test_the_unknown_outcome_of_a_resend_is_remembered_after_a_rate_limit_and_a_duplicate_original_message(
    here: World,
) -> None:
    request_id = here.accept_for_sure(Topic.SALES, "hush", "key")
    here.produce()
    [own] = here.bodies(Channel.SLACK)
    here.settle()
    posted_and_killed(here, request_id)
    here.cloud.sqs.send_message(QueueUrl=here.cloud.queues[Channel.SLACK], MessageBody=own)
    here.settle()
    assert here.posts() == {(request_id, None): 1, (request_id, "one"): 1}


def test_the_fallback_is_sent_after_a_resent_mail_bounced_although_email_is_the_fallback_channel(here: World) -> None:
    """The resend by email had made the fallback unnecessary, so the fallback was not published."""
    here.slack.fail("status", status=503)
    request_id = here.accept_for_sure(Topic.SALES, "hush", "key")
    here.produce()
    here.consume(OWN)
    send_again(here, request_id, FALLBACK, "to be sure")
    for _ in range(3):
        here.turn()
        here.advance(1_000)
    assert here.show(request_id)["status"] == "delivered"
    here.say_of_mail("bounce", 0)
    here.turn()
    assert here.show(request_id)["status"] == "delivered", "and no sweep was needed"


@pytest.mark.parametrize("hours", [0, 2])
def test_the_time_that_a_redriven_message_waited_for_the_fallback_does_not_count_as_rate_limited_time(
    here: World, hours: int
) -> None:
    request_id = published(here, Topic.SALES)
    here.slack.fail("error", error="is_archived", times=1)
    here.consume(Channel.SLACK)
    here.produce()
    here.injector.outage = lambda name: Kind.REFUSED if name == "sesv2.SendEmail" else None
    here.redrive()
    queue = here.aws.sqs.queues[Channel.SLACK]  # type: ignore[attr-defined]
    with patch.object(queue, "most", MAX_RECEIVES):
        for _ in range(12 * hours):
            here.consume(Channel.SLACK)
            here.advance(300)
        here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
        here.advance(1_000)
        here.consume(Channel.EMAIL)
        here.slack.fail("rate_limited", retry_after=1, times=1)
        here.advance(1_000)
        assert here.consume(Channel.SLACK)
    assert here.slack.workspace.fault["kind"] == "none", "Slack has limited its rate"
    [slack] = (each for each in here.show(request_id)["deliveries"] if each["channel"] == "slack")
    assert [each["outcome"] for each in slack["timeline"]] == ["failed"]
    here.settle()
    assert here.posts() == {(request_id, None): 1}
