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

HUSH = "words that belong in no log"


@contextmanager
def recorded(here: World) -> Iterator[list[str]]:
    """The names of the calls that invocations make within the context."""
    here.injector.plan(None)
    yield here.injector.calls


def published(here: World, topic: Topic = Topic.SALES, key: str = "key") -> str:
    request_id = here.accept_for_sure(topic, HUSH, key)
    here.produce()
    return request_id


def status(here: World, request_id: str) -> str:
    return str(here.show(request_id)["status"])


def break_at(here: World, name: str, kind: Kind, step: Callable[[], object], *, late: int = 0) -> None:
    """Take the step with a fault in its first call of that name."""
    struck: list[str] = []

    def outage(call: str) -> Kind | None:
        if call != name or struck:
            return None
        struck.append(call)
        return kind

    here.injector.outage = outage
    step()
    here.injector.outage = lambda _: None
    assert struck


def test_a_consumer_outage_longer_than_the_retention_of_the_queue_loses_no_request(here: World) -> None:
    """No consumer runs for longer than the queue keeps a message. The reconciler then publishes the request again."""
    request_id = published(here)
    here.reconcile()
    here.advance(QUEUE_RETENTION + 1)
    assert not here.bodies(Channel.SLACK)
    answer = here.reconcile()
    assert answer is not None
    assert answer["ledger"]["lost"] == [request_id]
    here.settle()
    assert status(here, request_id) == "delivered"


def test_the_fallback_delivers_a_request_during_a_provider_outage(here: World) -> None:
    here.slack.fail("status", status=503)
    request_id = published(here)
    here.settle()
    shown = here.show(request_id)
    assert {each["channel"]: each["status"] for each in shown["deliveries"]} == {
        "slack": "failed",
        "email": "delivered",
    }


def test_each_of_many_simultaneous_requests_is_delivered_exactly_once(here: World) -> None:
    for number in range(BURST):
        assert here.accept(list(Topic)[number % 2], f"{HUSH} {number}", str(number))
    here.produce()
    for channel in Channel:
        while here.consume(channel):
            pass
    here.observe()
    assert {request.status for request in here.accepted.values()} == {"delivered"}
    assert len(here.posts()) == len(here.mails()) == BURST / 2
    assert sum(here.posts().values()) + sum(here.mails().values()) == BURST


BURST = 3_000 if os.environ.get("SOAK") else 300


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.TIMEOUT_BEFORE, Kind.TIMEOUT_AFTER, Kind.TIMEOUT_LATE])
@pytest.mark.parametrize(
    ("topic", "call"), [(Topic.SALES, "http.chat.postMessage"), (Topic.PRICING, "sesv2.SendEmail")]
)
def test_a_send_without_a_response_is_retried(here: World, topic: Topic, call: str, kind: Kind) -> None:
    request_id = published(here, topic)
    channel = Channel.SLACK if topic is Topic.SALES else Channel.EMAIL
    break_at(here, call, kind, lambda: here.consume(channel))
    assert status(here, request_id) == "retrying"
    here.settle()
    assert status(here, request_id) == "delivered"
    assert len(here.slack.messages) == (channel is Channel.SLACK)


@pytest.mark.parametrize("key", ["key", None])
def test_an_api_call_whose_database_write_the_aws_sdk_retries_is_not_reported_as_an_idempotent_replay(
    here: World, capsys: pytest.CaptureFixture[str], key: str | None
) -> None:
    here.injector.plan(Fault(0, Kind.REPEATED))
    body = json.dumps({"topic": Topic.SALES, "description": HUSH})
    headers = {"Content_Type": "application/json"} | ({"Idempotency_Key": key} if key else {})
    answer = here.invoke(lambda: here.cloud.call("POST", "/assistance-requests", body, **headers))
    assert here.injector.calls == ["dynamodb.PutItem"]
    assert answer["statusCode"] == 202
    assert "Idempotent-Replayed" not in answer["multiValueHeaders"]
    assert '"Accepted"' in capsys.readouterr().out


def test_a_consumer_crash_between_slacks_response_and_the_database_write_causes_no_second_post(here: World) -> None:
    request_id = published(here)
    break_at(here, "http.chat.postMessage", Kind.CRASH_AFTER, lambda: here.consume(Channel.SLACK))
    assert (status(here, request_id), len(here.slack.messages)) == ("sending", 1)
    with recorded(here) as calls:
        here.settle()
    assert (status(here, request_id), len(here.slack.messages)) == ("delivered", 1)
    assert "http.conversations.history" in calls, "it was asked for, not sent again"


def test_redriving_the_dead_letter_of_a_failed_request_delivers_the_request(here: World) -> None:
    refuse_everything(here)
    request_id = published(here)
    here.settle()
    assert status(here, request_id) == "failed"
    here.heal()
    here.redrive()
    here.settle()
    assert status(here, request_id) == "delivered"
    assert len(here.slack.messages) + sum(here.mails().values()) == 1


def refuse_everything(here: World) -> None:
    here.slack.fail("error", error="is_archived")
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None


def test_a_redrive_right_after_a_last_attempt_with_a_slow_post_causes_no_second_post(here: World) -> None:
    """The outcome of the last attempt stays unknown after the failure.

    Slack may still apply the slow post after the redrive.
    """
    request_id = published(here)
    here.slack.fail("status", status=503, times=ATTEMPTS - 1)
    for _ in range(ATTEMPTS - 1):
        here.consume(Channel.SLACK)
        here.advance(31)
    here.injector.later = lambda call, _: here.later(call, 20)
    break_at(here, "http.chat.postMessage", Kind.TIMEOUT_LATE, lambda: here.consume(Channel.SLACK))
    here.injector.later = here.later
    assert status(here, request_id) == "failed"
    here.produce()
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    here.consume(Channel.EMAIL)
    here.heal()
    here.redrive()
    here.consume(Channel.SLACK)
    here.advance(25)
    here.settle()
    assert sum(here.posts().values()) == 1


def test_a_request_whose_message_waits_in_a_queue_is_not_published_again(here: World) -> None:
    published(here)
    for _ in range(30):
        here.advance(60)
        with recorded(here) as calls:
            answer = here.reconcile()
        assert answer is not None
        assert (answer["outbox"]["published"], answer["ledger"]["lost"]) == (0, [])
        assert "sns.PublishBatch" not in calls
    assert len(here.bodies(Channel.SLACK)) == 1


def test_a_hanging_mail_server_does_not_delay_slack(here: World) -> None:
    for number in range(10):
        published(here, Topic.PRICING, f"mail {number}")
    request_id = published(here, Topic.SALES, "slack")
    here.injector.outage = lambda name: Kind.TIMEOUT_AFTER if name == "sesv2.SendEmail" else None
    before = here.now
    here.consume(Channel.EMAIL)
    here.consume(Channel.SLACK)
    assert (status(here, request_id), here.now) == ("delivered", before)


@pytest.mark.parametrize(
    ("topic", "channel", "send"),
    [(Topic.SALES, Channel.SLACK, "http.chat.postMessage"), (Topic.PRICING, Channel.EMAIL, "sesv2.SendEmail")],
)
def test_a_request_does_not_have_status_delivered_before_the_provider_has_responded(
    here: World, topic: Topic, channel: Channel, send: str
) -> None:
    request_id = published(here, topic)
    with recorded(here) as calls:
        here.consume(channel)
    number = calls.index(send)
    assert status(here, request_id) == "delivered"
    for until in range(number + 1):
        here.reset()
        request_id = published(here, topic)
        here.injector.plan(Fault(until, Kind.CRASH_BEFORE))
        here.consume(channel)
        assert status(here, request_id) in {"published", "sending"}


def test_a_request_whose_message_sns_could_not_deliver_is_failed_within_two_reconciler_runs(here: World) -> None:
    request_id = published(here)
    here.lose_to_subscription_dlq(Channel.SLACK)
    within_two_sweeps(here, request_id)


def test_a_request_whose_message_no_consumer_can_parse_is_failed_within_two_reconciler_runs(here: World) -> None:
    request_id = published(here)
    [body] = here.bodies(Channel.SLACK)
    here.aws.purge(Channel.SLACK)
    garbled = {**json.loads(body), "version": 7}
    here.cloud.sqs.send_message(QueueUrl=here.cloud.queues[Channel.SLACK], MessageBody=json.dumps(garbled))
    here.consume(Channel.SLACK)
    assert len(here.dead_letters()) == 1
    within_two_sweeps(here, request_id)


def within_two_sweeps(here: World, request_id: str) -> None:
    """Check that two reconciler runs, a minute apart, set the request to failed. No other function runs."""
    here.reconcile()
    here.advance(60)
    here.reconcile()
    assert here.show(request_id)["deliveries"][0]["status"] == "failed"
    assert status(here, request_id) == "failed"


def test_a_request_whose_consumer_was_killed_during_the_last_attempt_gets_the_status_failed(here: World) -> None:
    request_id = published(here)
    for _ in range(ATTEMPTS):
        break_at(here, "http.chat.postMessage", Kind.CRASH_BEFORE, lambda: here.consume(Channel.SLACK))
        here.advance(200)
    assert status(here, request_id) == "sending"
    here.consume(Channel.SLACK)
    assert status(here, request_id) == "failed"
    assert not here.slack.messages
    assert len(here.dead_letters()) == 1


def test_a_request_whose_message_sqs_moves_to_the_dead_letter_queue_is_failed_within_two_reconciler_runs(
    here: World,
) -> None:
    """The consumer is killed at every receive, so it never records or reports anything."""
    request_id = published(here)
    here.injector.outage = lambda name: Kind.CRASH_BEFORE if name.startswith("dynamodb.") else None
    while here.consume(Channel.SLACK):
        here.advance(200)
    here.heal()
    assert len(here.dead_letters()) == 1
    within_two_sweeps(here, request_id)


def test_the_reconciler_reads_no_dead_letters_while_every_request_has_a_final_status(here: World) -> None:
    published(here)
    here.consume(Channel.SLACK)
    here.advance(60)
    with recorded(here) as calls:
        here.reconcile()
    assert [call for call in calls if call.startswith("sqs.")] == []


def test_the_reconciler_leaves_the_dead_letters_that_it_read_visible_and_in_their_queue(here: World) -> None:
    request_id = published(here)
    here.lose_to_subscription_dlq(Channel.SLACK)
    here.advance(60)
    here.reconcile()
    assert status(here, request_id) == "failed"
    here.advance(1)
    url = here.cloud.subscription_dlqs[Channel.SLACK]
    assert len(here.cloud.sqs.receive_message(QueueUrl=url)["Messages"]) == 1


def test_a_dry_run_of_the_reconciler_writes_nothing(here: World) -> None:
    here.accept_for_sure(Topic.SALES, HUSH, "unpublished")
    published(here, Topic.PRICING, "dead")
    here.lose_to_subscription_dlq(Channel.EMAIL)
    here.stream.clear()
    here.advance(1_000)
    with recorded(here) as calls:
        answer = here.reconcile(dry_run=True)
    assert answer is not None
    assert answer["ledger"]["dead_lettered"]
    reads = {"Query", "GetItem", "BatchGetItem", "GetQueueAttributes", "ReceiveMessage"}
    # A dry run changes nothing except that it makes the dead letters visible again that it has read.
    assert {call.split(".")[1] for call in calls} - reads <= {"ChangeMessageVisibilityBatch"}


def send_again(here: World, request_id: str, channel: Channel, decision: str) -> None:
    """Resend a request as an operator does, and publish the resend to the queue of its channel."""
    assert here.resend(request_id, channel, decision)
    here.produce()


def test_a_late_duplicate_of_the_original_message_does_not_send_a_resend_that_waits_for_its_own_message(
    here: World,
) -> None:
    """Only the resend's own message sends the resend."""
    request_id = published(here)
    [body] = here.bodies(Channel.SLACK)
    here.consume(Channel.SLACK)
    here.slack.fail("rate_limited", retry_after=60, times=1)
    send_again(here, request_id, Channel.SLACK, "once more")
    here.consume(Channel.SLACK)
    send(here, Channel.SLACK, json.loads(body))
    here.consume(Channel.SLACK)
    assert here.posts() == {(request_id, None): 1}
    here.settle()
    assert here.posts() == {(request_id, None): 1, (request_id, "once more"): 1}


def send(here: World, channel: Channel, message: dict[str, Any]) -> None:
    here.cloud.sqs.send_message(QueueUrl=here.cloud.queues[channel], MessageBody=json.dumps(message))


def test_a_resend_has_the_same_maximum_number_of_attempts_as_an_original_delivery(here: World) -> None:
    request_id = published(here)
    here.slack.fail("status", status=503, times=ATTEMPTS - 1)
    for _ in range(ATTEMPTS):
        here.consume(Channel.SLACK)
        here.advance(31)
    assert status(here, request_id) == "delivered"
    here.slack.fail("status", status=503, times=ATTEMPTS - 1)
    send_again(here, request_id, Channel.SLACK, "once more")
    here.settle()
    assert here.posts()[request_id, "once more"] == 1


def test_the_dead_letter_of_a_failed_resend_can_be_redriven(here: World) -> None:
    request_id = published(here)
    here.consume(Channel.SLACK)
    here.slack.fail("error", error="is_archived", times=1)
    send_again(here, request_id, Channel.SLACK, "once more")
    here.consume(Channel.SLACK)
    assert len(here.dead_letters()) == 1
    here.redrive()
    here.settle()
    assert here.posts()[request_id, "once more"] == 1


@pytest.mark.parametrize("late", [0, 20])
def test_the_unknown_outcome_of_a_resend_is_remembered_although_another_resend_succeeds(here: World, late: int) -> None:
    request_id = published(here)
    here.consume(Channel.SLACK)
    here.slack.fail("status", status=503, times=ATTEMPTS - 1)
    send_again(here, request_id, Channel.SLACK, "first")
    for _ in range(ATTEMPTS - 1):
        here.consume(Channel.SLACK)
        here.advance(61)
    here.injector.later = lambda call, _: here.later(call, late)
    break_at(here, "http.chat.postMessage", Kind.TIMEOUT_LATE, lambda: here.consume(Channel.SLACK))
    here.injector.later = here.later
    assert len(here.dead_letters()) == 1
    send_again(here, request_id, Channel.SLACK, "second")
    here.consume(Channel.SLACK)
    here.redrive()
    here.consume(Channel.SLACK)
    here.advance(25)
    here.settle()
    assert here.posts() == {(request_id, None): 1, (request_id, "first"): 1, (request_id, "second"): 1}


def test_a_resend_is_refused_until_the_original_delivery_is_delivered_or_failed(here: World) -> None:
    request_id = published(here)
    assert not here.resend(request_id, Channel.SLACK, "too early")
    here.settle()
    assert here.posts() == {(request_id, None): 1}
