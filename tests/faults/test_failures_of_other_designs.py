"""Tests outages, crashes and races that break common designs of such a system."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from assistance.routing import Channel, Topic
from tests.faults.fault_injection import Fault, Kind
from tests.faults.system import ATTEMPTS, QUEUE_RETENTION
from tests.faults.world import World

CONFIDENTIAL = "words that belong in no log"


@contextmanager
def recorded(system: World) -> Iterator[list[str]]:
    """The names of the calls that invocations make within the context."""
    system.injector.plan(None)
    yield system.injector.calls


def published(system: World, topic: Topic = Topic.SALES, key: str = "key") -> str:
    request_id = system.accept_for_sure(topic, CONFIDENTIAL, key)
    system.produce()
    return request_id


def status(system: World, request_id: str) -> str:
    return str(system.show(request_id)["status"])


def break_at(system: World, name: str, kind: Kind, step: Callable[[], object]) -> None:
    """Take the step with a fault of this kind in the step's first call called `name`."""
    struck: list[str] = []

    def outage(call: str) -> Kind | None:
        if call != name or struck:
            return None
        struck.append(call)
        return kind

    system.injector.outage = outage
    step()
    system.injector.outage = lambda _: None
    assert struck


def test_a_consumer_outage_longer_than_the_retention_of_the_queue_loses_no_request(system: World) -> None:
    """No consumer runs for longer than the queue keeps a message. The reconciler then publishes the request again."""
    request_id = published(system)
    system.reconcile()
    system.advance(QUEUE_RETENTION + 1)
    assert not system.bodies(Channel.SLACK)
    answer = system.reconcile()
    assert answer is not None
    assert answer["ledger"]["lost"] == [request_id]
    system.settle()
    assert status(system, request_id) == "delivered"


def test_the_fallback_delivers_a_request_during_a_provider_outage(system: World) -> None:
    system.slack.fail("status", status=503)
    request_id = published(system)
    system.settle()
    shown = system.show(request_id)
    assert {each["channel"]: each["status"] for each in shown["deliveries"]} == {
        "slack": "failed",
        "email": "delivered",
    }


def test_each_of_many_simultaneous_requests_is_delivered_exactly_once(system: World) -> None:
    for number in range(BURST):
        assert system.accept(list(Topic)[number % 2], f"{CONFIDENTIAL} {number}", str(number))
    system.produce()
    for channel in Channel:
        while system.consume(channel):
            pass
    system.observe()
    assert {request.status for request in system.accepted.values()} == {"delivered"}
    assert len(system.posts()) == len(system.mails()) == BURST / 2
    assert sum(system.posts().values()) + sum(system.mails().values()) == BURST


BURST = 3_000 if os.environ.get("SOAK") else 300


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.TIMEOUT_BEFORE, Kind.TIMEOUT_AFTER, Kind.TIMEOUT_LATE])
@pytest.mark.parametrize(
    ("topic", "call"), [(Topic.SALES, "http.chat.postMessage"), (Topic.PRICING, "sesv2.SendEmail")]
)
def test_a_send_without_a_response_is_retried(system: World, topic: Topic, call: str, kind: Kind) -> None:
    request_id = published(system, topic)
    channel = Channel.SLACK if topic is Topic.SALES else Channel.EMAIL
    break_at(system, call, kind, lambda: system.consume(channel))
    assert status(system, request_id) == "retrying"
    system.settle()
    assert status(system, request_id) == "delivered"
    assert len(system.slack.messages) == (channel is Channel.SLACK)


@pytest.mark.parametrize("key", ["key", None])
def test_an_api_call_whose_database_write_the_aws_sdk_retries_is_not_reported_as_an_idempotent_replay(
    system: World, capsys: pytest.CaptureFixture[str], key: str | None
) -> None:
    system.injector.plan(Fault(0, Kind.REPEATED))
    body = json.dumps({"topic": Topic.SALES, "description": CONFIDENTIAL})
    headers = {"Content_Type": "application/json"} | ({"Idempotency_Key": key} if key else {})
    answer = system.invoke(lambda: system.cloud.call("POST", "/assistance-requests", body, **headers))
    assert system.injector.calls == ["dynamodb.PutItem"]
    assert answer["statusCode"] == 202
    assert "Idempotent-Replayed" not in answer["multiValueHeaders"]
    assert '"Accepted"' in capsys.readouterr().out


def test_a_consumer_crash_between_slacks_response_and_the_database_write_causes_no_second_post(system: World) -> None:
    request_id = published(system)
    break_at(system, "http.chat.postMessage", Kind.CRASH_AFTER, lambda: system.consume(Channel.SLACK))
    assert (status(system, request_id), len(system.slack.messages)) == ("sending", 1)
    with recorded(system) as calls:
        system.settle()
    assert (status(system, request_id), len(system.slack.messages)) == ("delivered", 1)
    assert "http.conversations.history" in calls, "it was asked for, not sent again"


def test_redriving_the_dead_letter_of_a_failed_request_delivers_the_request(system: World) -> None:
    refuse_everything(system)
    request_id = published(system)
    system.settle()
    assert status(system, request_id) == "failed"
    system.heal()
    system.redrive()
    system.settle()
    assert status(system, request_id) == "delivered"
    assert len(system.slack.messages) + sum(system.mails().values()) == 1


def refuse_everything(system: World) -> None:
    system.slack.fail("error", error="is_archived")
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None


def test_a_redrive_right_after_a_last_attempt_with_a_slow_post_causes_no_second_post(system: World) -> None:
    """The outcome of the last attempt stays unknown after the failure.

    Slack may still apply the slow post after the redrive.
    """
    request_id = published(system)
    system.slack.fail("status", status=503, times=ATTEMPTS - 1)
    for _ in range(ATTEMPTS - 1):
        system.consume(Channel.SLACK)
        system.advance(31)
    system.injector.later = lambda call, _: system.later(call, 20)
    break_at(system, "http.chat.postMessage", Kind.TIMEOUT_LATE, lambda: system.consume(Channel.SLACK))
    system.injector.later = system.later
    assert status(system, request_id) == "failed"
    system.produce()
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    system.consume(Channel.EMAIL)
    system.heal()
    system.redrive()
    system.consume(Channel.SLACK)
    system.advance(25)
    system.settle()
    assert sum(system.posts().values()) == 1


def test_a_request_whose_message_waits_in_a_queue_is_not_published_again(system: World) -> None:
    published(system)
    for _ in range(30):
        system.advance(60)
        with recorded(system) as calls:
            answer = system.reconcile()
        assert answer is not None
        assert (answer["outbox"]["published"], answer["ledger"]["lost"]) == (0, [])
        assert "sns.PublishBatch" not in calls
    assert len(system.bodies(Channel.SLACK)) == 1


def test_a_hanging_mail_server_does_not_delay_slack(system: World) -> None:
    for number in range(10):
        published(system, Topic.PRICING, f"mail {number}")
    request_id = published(system, Topic.SALES, "slack")
    system.injector.outage = lambda name: Kind.TIMEOUT_AFTER if name == "sesv2.SendEmail" else None
    before = system.now
    system.consume(Channel.EMAIL)
    system.consume(Channel.SLACK)
    assert (status(system, request_id), system.now) == ("delivered", before)


@pytest.mark.parametrize(
    ("topic", "channel", "send"),
    [(Topic.SALES, Channel.SLACK, "http.chat.postMessage"), (Topic.PRICING, Channel.EMAIL, "sesv2.SendEmail")],
)
def test_a_request_does_not_have_status_delivered_before_the_provider_has_responded(
    system: World, topic: Topic, channel: Channel, send: str
) -> None:
    request_id = published(system, topic)
    with recorded(system) as calls:
        system.consume(channel)
    number = calls.index(send)
    assert status(system, request_id) == "delivered"
    for until in range(number + 1):
        system.reset()
        request_id = published(system, topic)
        system.injector.plan(Fault(until, Kind.CRASH_BEFORE))
        system.consume(channel)
        assert status(system, request_id) in {"published", "sending"}


def test_a_request_whose_message_sns_could_not_deliver_is_failed_within_two_reconciler_runs(system: World) -> None:
    request_id = published(system)
    system.lose_to_subscription_dlq(Channel.SLACK)
    within_two_sweeps(system, request_id)


def test_a_request_whose_message_no_consumer_can_parse_is_failed_within_two_reconciler_runs(system: World) -> None:
    request_id = published(system)
    [body] = system.bodies(Channel.SLACK)
    system.aws.purge(Channel.SLACK)
    garbled = {**json.loads(body), "version": 7}
    system.cloud.sqs.send_message(QueueUrl=system.cloud.queues[Channel.SLACK], MessageBody=json.dumps(garbled))
    system.consume(Channel.SLACK)
    assert len(system.dead_letters()) == 1
    within_two_sweeps(system, request_id)


def within_two_sweeps(system: World, request_id: str) -> None:
    """Check that two reconciler runs, a minute apart, set the request to failed. No other function runs."""
    system.reconcile()
    system.advance(60)
    system.reconcile()
    assert system.show(request_id)["deliveries"][0]["status"] == "failed"
    assert status(system, request_id) == "failed"


def test_a_request_whose_consumer_was_killed_during_the_last_attempt_gets_the_status_failed(system: World) -> None:
    request_id = published(system)
    for _ in range(ATTEMPTS):
        break_at(system, "http.chat.postMessage", Kind.CRASH_BEFORE, lambda: system.consume(Channel.SLACK))
        system.advance(200)
    assert status(system, request_id) == "sending"
    system.consume(Channel.SLACK)
    assert status(system, request_id) == "failed"
    assert not system.slack.messages
    assert len(system.dead_letters()) == 1


def test_a_request_whose_message_sqs_moves_to_the_dead_letter_queue_is_failed_within_two_reconciler_runs(
    system: World,
) -> None:
    """The consumer is killed at every receive, so it never records or reports anything."""
    request_id = published(system)
    system.injector.outage = lambda name: Kind.CRASH_BEFORE if name.startswith("dynamodb.") else None
    while system.consume(Channel.SLACK):
        system.advance(200)
    system.heal()
    assert len(system.dead_letters()) == 1
    within_two_sweeps(system, request_id)


def test_the_reconciler_reads_no_dead_letters_while_every_request_has_a_final_status(system: World) -> None:
    published(system)
    system.consume(Channel.SLACK)
    system.advance(60)
    with recorded(system) as calls:
        system.reconcile()
    assert [call for call in calls if call.startswith("sqs.")] == []


def test_the_reconciler_leaves_the_dead_letters_that_it_read_visible_and_in_their_queue(system: World) -> None:
    request_id = published(system)
    system.lose_to_subscription_dlq(Channel.SLACK)
    system.advance(60)
    system.reconcile()
    assert status(system, request_id) == "failed"
    system.advance(1)
    url = system.cloud.subscription_dlqs[Channel.SLACK]
    assert len(system.cloud.sqs.receive_message(QueueUrl=url)["Messages"]) == 1


def test_a_dry_run_of_the_reconciler_writes_nothing(system: World) -> None:
    system.accept_for_sure(Topic.SALES, CONFIDENTIAL, "unpublished")
    published(system, Topic.PRICING, "dead")
    system.lose_to_subscription_dlq(Channel.EMAIL)
    system.stream.clear()
    system.advance(1_000)
    with recorded(system) as calls:
        answer = system.reconcile(dry_run=True)
    assert answer is not None
    assert answer["ledger"]["dead_lettered"]
    reads = {"Query", "GetItem", "BatchGetItem", "GetQueueAttributes", "ReceiveMessage"}
    # A dry run changes nothing except that it makes the dead letters visible again that it has read.
    assert {call.split(".")[1] for call in calls} - reads <= {"ChangeMessageVisibilityBatch"}


def send_again(system: World, request_id: str, channel: Channel, decision: str) -> None:
    """Resend a request as an operator does, and publish it to the channel's queue. `decision`: the resend's id."""
    assert system.resend(request_id, channel, decision)
    system.produce()


def test_a_late_duplicate_of_the_original_message_does_not_send_a_resend_that_waits_for_its_own_message(
    system: World,
) -> None:
    """Only the resend's own message sends the resend."""
    request_id = published(system)
    [body] = system.bodies(Channel.SLACK)
    system.consume(Channel.SLACK)
    system.slack.fail("rate_limited", retry_after=60, times=1)
    send_again(system, request_id, Channel.SLACK, "once more")
    system.consume(Channel.SLACK)
    send(system, Channel.SLACK, json.loads(body))
    system.consume(Channel.SLACK)
    assert system.posts() == {(request_id, None): 1}
    system.settle()
    assert system.posts() == {(request_id, None): 1, (request_id, "once more"): 1}


def send(system: World, channel: Channel, message: dict[str, Any]) -> None:
    system.cloud.sqs.send_message(QueueUrl=system.cloud.queues[channel], MessageBody=json.dumps(message))


def test_a_resend_has_the_same_maximum_number_of_attempts_as_an_original_delivery(system: World) -> None:
    request_id = published(system)
    system.slack.fail("status", status=503, times=ATTEMPTS - 1)
    for _ in range(ATTEMPTS):
        system.consume(Channel.SLACK)
        system.advance(31)
    assert status(system, request_id) == "delivered"
    system.slack.fail("status", status=503, times=ATTEMPTS - 1)
    send_again(system, request_id, Channel.SLACK, "once more")
    system.settle()
    assert system.posts()[request_id, "once more"] == 1


def test_the_dead_letter_of_a_failed_resend_can_be_redriven(system: World) -> None:
    request_id = published(system)
    system.consume(Channel.SLACK)
    system.slack.fail("error", error="is_archived", times=1)
    send_again(system, request_id, Channel.SLACK, "once more")
    system.consume(Channel.SLACK)
    assert len(system.dead_letters()) == 1
    system.redrive()
    system.settle()
    assert system.posts()[request_id, "once more"] == 1


@pytest.mark.parametrize("late", [0, 20])
def test_the_unknown_outcome_of_a_resend_is_remembered_although_another_resend_succeeds(
    system: World, late: int
) -> None:
    request_id = published(system)
    system.consume(Channel.SLACK)
    system.slack.fail("status", status=503, times=ATTEMPTS - 1)
    send_again(system, request_id, Channel.SLACK, "first")
    for _ in range(ATTEMPTS - 1):
        system.consume(Channel.SLACK)
        system.advance(61)
    system.injector.later = lambda call, _: system.later(call, late)
    break_at(system, "http.chat.postMessage", Kind.TIMEOUT_LATE, lambda: system.consume(Channel.SLACK))
    system.injector.later = system.later
    assert len(system.dead_letters()) == 1
    send_again(system, request_id, Channel.SLACK, "second")
    system.consume(Channel.SLACK)
    system.redrive()
    system.consume(Channel.SLACK)
    system.advance(25)
    system.settle()
    assert system.posts() == {(request_id, None): 1, (request_id, "first"): 1, (request_id, "second"): 1}


def test_a_resend_is_refused_until_the_original_delivery_is_delivered_or_failed(system: World) -> None:
    request_id = published(system)
    assert not system.resend(request_id, Channel.SLACK, "too early")
    system.settle()
    assert system.posts() == {(request_id, None): 1}
