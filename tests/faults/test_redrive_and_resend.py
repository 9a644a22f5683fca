"""Tests redrives and resends that coincide with running attempts, bounces and duplicate messages."""

import json
import os
from unittest.mock import patch

import pytest

from assistance.routing import Channel, Topic
from assistance.store.requests import request_key
from infra.retries import MAX_RECEIVES
from reconciler import open_requests
from tests.faults.fault_injection import Fault, Kind
from tests.faults.test_failures_of_other_designs import break_at, published, send_again
from tests.faults.world import World
from tests.integration.cloud import forget

OWN, FALLBACK = Channel.SLACK, Channel.EMAIL


def test_an_idempotency_key_reused_after_its_request_expired_creates_a_new_request(system: World) -> None:
    """DynamoDB has deleted the request's item, but not its record: it deletes each item within days after its `ttl`."""
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.settle()
    system.advance(91 * 86_400)
    system.cloud.table.delete_item(Key=request_key(request_id))
    assert system.accept_for_sure(Topic.SALES, "another question", "key") == request_id
    assert system.show(request_id)["deliveries"] == []
    system.produce()
    system.consume(Channel.SLACK)
    assert system.posts()[request_id, None] == 2
    assert system.show(request_id)["deliveries"][0]["attempts"] == 1


def failed_on_both(system: World) -> str:
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.slack.fail("error", error="is_archived")
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    system.settle()
    system.heal()
    return request_id


@pytest.mark.parametrize(("first", "second"), [(OWN, FALLBACK), (FALLBACK, OWN)])
@pytest.mark.parametrize("call", range(4))
def test_redriving_two_dead_letters_of_one_request_sends_one_message(
    system: World, first: Channel, second: Channel, call: int
) -> None:
    """Just before the call of that number for the first dead letter, a consumer gets the second one."""
    request_id = failed_on_both(system)
    system.redrive()
    system.injector.plan(None, (call, lambda: system.consume(second)))
    system.consume(first)
    system.injector.plan(None)
    system.settle()
    assert system.show(request_id)["status"] == "delivered"
    assert system.posts()[request_id, None] + system.mails()[request_id] == 1


def redriven_on_slack(system: World) -> str:
    """Redrive a failed request. Slack then responds 503 once, so that the next attempt is due soon."""
    request_id = failed_on_both(system)
    system.redrive()
    system.aws.purge(Channel.EMAIL)
    system.slack.fail("status", status=503, times=1)
    system.consume(Channel.SLACK)
    system.slack.fail("none")
    return request_id


def test_a_resend_is_refused_while_a_redriven_message_waits_for_the_next_attempt(system: World) -> None:
    request_id = redriven_on_slack(system)
    assert not system.resend(request_id, Channel.SLACK, "once more")


@pytest.mark.parametrize("call", range(4))
def test_a_resend_is_refused_while_an_attempt_with_a_redriven_message_is_running(system: World, call: int) -> None:
    """An operator tries to resend just before the call of that number in the attempt."""
    request_id = redriven_on_slack(system)
    system.advance(60)
    system.injector.plan(None, (call, lambda: system.resend(request_id, Channel.SLACK, "once more")))
    system.consume(Channel.SLACK)
    system.injector.plan(None)
    system.settle()
    assert system.posts() == {(request_id, None): 1}


def test_a_resend_is_possible_after_a_redriven_message_was_dropped_because_the_request_was_already_delivered(
    system: World,
) -> None:
    request_id = redriven_on_slack(system)
    assert system.resend(request_id, Channel.EMAIL, "by mail")
    system.settle()
    assert system.resend(request_id, Channel.SLACK, "once more")


@pytest.mark.parametrize("resend_fails", [False, True])
def test_of_a_redrive_and_a_resend_on_the_same_channel_only_one_is_sent(system: World, resend_fails: bool) -> None:  # noqa: FBT001
    request_id = failed_on_both(system)
    assert system.resend(request_id, Channel.SLACK, "once more")
    system.redrive()
    system.aws.purge(Channel.EMAIL)
    system.consume(Channel.SLACK)
    assert system.posts() == {}
    if resend_fails:
        system.slack.fail("error", error="is_archived", times=1)
    system.settle()
    assert system.show(request_id)["status"] == "delivered"
    assert system.posts() == {(request_id, None if resend_fails else "once more"): 1}


def test_a_delivered_resend_is_not_sent_again_while_another_resend_waits(system: World) -> None:
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.settle()
    send_again(system, request_id, Channel.SLACK, "one")
    (body,) = system.bodies(Channel.SLACK)
    system.consume(Channel.SLACK)
    system.slack.fail("rate_limited", retry_after=60, times=1)
    send_again(system, request_id, Channel.SLACK, "two")
    system.consume(Channel.SLACK)
    system.cloud.sqs.send_message(QueueUrl=system.cloud.queues[Channel.SLACK], MessageBody=body)
    system.settle()
    assert system.posts() == {(request_id, None): 1, (request_id, "one"): 1, (request_id, "two"): 1}


def test_a_bounce_is_recorded_although_an_operator_starts_a_resend_at_the_same_time(system: World) -> None:
    request_id = system.accept_for_sure(Topic.PRICING, "hush", "key")
    system.settle()
    system.publish_mail_event("bounce", 0)
    send_again(system, request_id, Channel.EMAIL, "once more")

    def begin() -> None:
        system.injector.plan(Fault(1, Kind.TIMEOUT_BEFORE))
        system.consume(Channel.EMAIL)

    system.injector.plan(None, (2, begin))
    system.bring_feedback()
    system.injector.plan(None)
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    system.advance(60)
    system.consume(Channel.EMAIL)
    system.settle()
    assert system.posts() == {(request_id, None): 1}, "by the fallback"


@pytest.mark.parametrize("ends", ["delivered", "failed"])
def test_a_resend_on_a_channel_that_is_not_in_the_route_changes_no_other_delivery(system: World, ends: str) -> None:
    system.slack.fail("status", status=503, times=1)
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.produce()
    system.consume(Channel.SLACK)
    send_again(system, request_id, Channel.EMAIL, "to be sure")
    if ends == "failed":
        system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    system.consume(Channel.EMAIL)
    shown = system.show(request_id)
    assert {each["channel"]: each["status"] for each in shown["deliveries"]} == {"slack": "retrying", "email": ends}
    assert (shown["status"], shown.get("fallback")) == ("retrying", None)
    system.settle()
    assert system.posts() == {(request_id, None): 1}


def posted_and_killed(system: World, request_id: str) -> None:
    """Kill the consumer just after it posted a resend. Slack rate limits the next attempt's search for the post."""
    send_again(system, request_id, Channel.SLACK, "one")
    break_at(system, "http.chat.postMessage", Kind.CRASH_AFTER, lambda: system.consume(Channel.SLACK, 1))
    system.advance(200)
    system.slack.fail("rate_limited", retry_after=60, times=1)
    system.consume(Channel.SLACK, 1)
    system.heal()


def test_the_unknown_outcome_of_a_resend_is_remembered_after_a_rate_limit_and_a_second_resend(system: World) -> None:
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.settle()
    posted_and_killed(system, request_id)
    send_again(system, request_id, Channel.SLACK, "two")
    system.settle()
    assert system.posts() == {(request_id, None): 1, (request_id, "one"): 1, (request_id, "two"): 1}


def test_the_unknown_outcome_of_a_resend_is_remembered_after_a_rate_limit_and_a_duplicate_original_message(
    system: World,
) -> None:
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.produce()
    [own] = system.bodies(Channel.SLACK)
    system.settle()
    posted_and_killed(system, request_id)
    system.cloud.sqs.send_message(QueueUrl=system.cloud.queues[Channel.SLACK], MessageBody=own)
    system.settle()
    assert system.posts() == {(request_id, None): 1, (request_id, "one"): 1}


def test_the_fallback_is_sent_after_a_resent_mail_bounced_although_email_is_the_fallback_channel(system: World) -> None:
    """The resend by email had made the fallback unnecessary, so the fallback was not published."""
    system.slack.fail("status", status=503)
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.produce()
    system.consume(OWN)
    send_again(system, request_id, FALLBACK, "to be sure")
    for _ in range(3):
        system.turn()
        system.advance(1_000)
    assert system.show(request_id)["status"] == "delivered"
    system.publish_mail_event("bounce", 0)
    system.turn()
    assert system.show(request_id)["status"] == "delivered", "and no sweep was needed"


@pytest.mark.parametrize("hours", [0, 2])
def test_the_time_that_a_redriven_message_waited_for_the_fallback_does_not_count_as_rate_limited_time(
    system: World, hours: int
) -> None:
    request_id = published(system, Topic.SALES)
    system.slack.fail("error", error="is_archived", times=1)
    system.consume(Channel.SLACK)
    system.produce()
    system.injector.outage = lambda name: Kind.REFUSED if name == "sesv2.SendEmail" else None
    system.redrive()
    queue = system.aws.sqs.queues[Channel.SLACK]  # type: ignore[attr-defined]
    with patch.object(queue, "most", MAX_RECEIVES):
        for _ in range(12 * hours):
            system.consume(Channel.SLACK)
            system.advance(300)
        system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
        system.advance(1_000)
        system.consume(Channel.EMAIL)
        system.slack.fail("rate_limited", retry_after=1, times=1)
        system.advance(1_000)
        assert system.consume(Channel.SLACK)
    assert system.slack.workspace.fault["kind"] == "none", "Slack has limited its rate"
    [slack] = (each for each in system.show(request_id)["deliveries"] if each["channel"] == "slack")
    assert [each["outcome"] for each in slack["timeline"]] == ["failed"]
    system.settle()
    assert system.posts() == {(request_id, None): 1}


def lost_message_is_found(system: World, channel: Channel) -> list[str]:
    """Let the functions run for two hours. Returns the ids of the requests that the reconciler has published again."""
    lost = list[str]()
    queue = system.aws.sqs.queues[channel]  # type: ignore[attr-defined]
    with patch.object(queue, "most", MAX_RECEIVES):
        for _ in range(120):
            system.turn()
            system.advance(60)
            lost += (system.reconcile() or {})["ledger"]["lost"]
    return lost


def test_the_fallback_waits_at_most_two_hours_for_a_resend_on_its_channel_whose_message_is_lost(system: World) -> None:
    """The fallback's message waits in the resend's queue, which is therefore never empty."""
    system.slack.fail("status", status=503)
    request_id = published(system, Topic.SALES)
    system.consume(OWN)
    send_again(system, request_id, FALLBACK, "to be sure")
    system.aws.purge(FALLBACK)
    assert lost_message_is_found(system, FALLBACK) == [request_id]
    assert system.show(request_id)["status"] == "delivered"
    assert system.mails() == {request_id: 1}


def test_a_redrive_waits_at_most_two_hours_for_a_resend_on_its_channel_whose_message_is_lost(system: World) -> None:
    request_id = failed_on_both(system)
    send_again(system, request_id, OWN, "once more")
    system.aws.purge(OWN)
    system.redrive()
    system.aws.purge(FALLBACK)
    assert lost_message_is_found(system, OWN) == [request_id]
    assert system.show(request_id)["status"] == "delivered"
    assert system.posts() == {(request_id, "once more"): 1}


def removed_channel(monkeypatch: pytest.MonkeyPatch, channel: Channel) -> None:
    """Deploy the reconciler without that channel's queues."""
    queues = json.loads(os.environ["QUEUES"])
    monkeypatch.setenv("QUEUES", json.dumps({name: urls for name, urls in queues.items() if name != channel}))
    forget()


def test_a_redrive_does_not_wait_for_ever_for_a_fallback_whose_channel_is_no_longer_deployed(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise SQS deletes the redriven message after four days: then nobody has the request."""
    system.calls_back = True
    request_id = system.accept_for_sure(Topic.SALES, "hush", "key")
    system.produce()
    system.slack.fail("error", error="is_archived")
    removed_channel(monkeypatch, FALLBACK)
    system.consume(OWN)
    system.produce()
    # SNS has no subscription for the channel.
    system.aws.purge(FALLBACK)
    system.heal()
    system.redrive()
    for _ in range(60):
        system.advance(60)
        system.reconcile()
        system.turn()
    assert system.show(request_id)["status"] == "delivered"
    assert system.posts() == {(request_id, None): 1}
    assert [json.loads(call.body)["data"]["status"] for call in system.bot.calls] == ["failed", "delivered"]


def delivered_with_a_resend_to_a_removed_channel(system: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a delivered request that an operator sends by mail too, before the channel of mails is removed."""
    request_id = published(system, Topic.SALES)
    system.consume(OWN)
    send_again(system, request_id, FALLBACK, "by mail too")
    removed_channel(monkeypatch, FALLBACK)
    system.aws.purge(FALLBACK)
    return request_id


def test_a_resend_whose_channel_is_no_longer_deployed_does_not_stay_open(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the request could not be erased, and the alarm OldestOpenAge would stay on until it expires."""
    request_id = delivered_with_a_resend_to_a_removed_channel(system, monkeypatch)
    system.advance(1_000)
    with patch.object(open_requests, "TIME_TO_REPORT_MS", 1_000_000):
        hurried = system.reconcile()
    assert hurried
    assert not hurried["ledger"]["complete"], "the sweep had no time left"
    system.reconcile()
    system.advance(60)
    found = system.reconcile()
    assert found
    assert found["ledger"]["open"] == 0
    assert system.show(request_id)["status"] == "delivered"


def test_a_sweep_gives_up_a_resend_whose_channel_is_no_longer_deployed_and_sends_a_lost_one_of_the_same_request(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = delivered_with_a_resend_to_a_removed_channel(system, monkeypatch)
    send_again(system, request_id, OWN, "once more")
    system.aws.purge(OWN)
    assert lost_message_is_found(system, OWN) == [request_id]
    assert system.posts() == {(request_id, None): 1, (request_id, "once more"): 1}
    given_up, *_ = (it for it in system.show(request_id)["deliveries"] if it["channel"] == FALLBACK)
    assert (given_up["status"], given_up["last_error"]) == ("failed", "channel_not_deployed")
    found = system.reconcile()
    assert found
    assert (found["ledger"]["open"], found["ledger"]["lost"]) == (0, [])
