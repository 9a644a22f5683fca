"""Tests that the reconciler tracks each request until its final status, even during the outage of a channel."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest

from assistance.engine.dead_letters import Depth, request_id_in
from assistance.models import AssistanceRequest
from assistance.platform.clock import timestamp
from assistance.routing import CALLBACK, Channel, Topic
from assistance.store.requests import request_key
from assistance.store.schema import PARTITION_KEY
from assistance.store.table import PROGRESS_KEY, Items
from infra.config import QUEUE_RETENTION_DAYS
from reconciler import handler as reconciler
from reconciler.dead_letters import TIME_TO_LOCATE_MS
from reconciler.new_requests import SECOND_CHECK_AFTER
from reconciler.open_requests import QUEUE_RETENTION
from reconciler.outbox import Sweep
from reconciler.run import Report
from tests.faults.fault_injection import Kind
from tests.faults.humans import ESCALATE_AFTER, STAFFED
from tests.faults.system import requests
from tests.faults.test_failures_of_other_designs import break_at, recorded, send_again
from tests.faults.world import World


def published(system: World, topic: Topic, key: str) -> str:
    request_id = system.accept_for_sure(topic, "hush", key)
    system.produce()
    return request_id


def published_after_an_outage(system: World) -> None:
    """Accept a request that no function can publish for 20 minutes. The next reconciler run will publish it."""
    system.accept_for_sure(Topic.SALES, "hush", "key")
    system.read_stream()
    system.stream.clear()
    system.injector.outage = lambda name: Kind.REJECTED if name == "sns.PublishBatch" else None
    system.advance(1_200)
    assert sweep(system)["places"] == {"sales/slack/unpublished": 1}
    system.heal()


def sweep(system: World) -> dict[str, Any]:
    answer = system.reconcile()
    assert answer is not None
    found: dict[str, Any] = answer["ledger"]
    return found


def check_requests(remaining_ms: int) -> Report:
    return reconciler.check_requests(Sweep(), lambda: remaining_ms, dry_run=False)


def pending(system: World) -> dict[str, int]:
    return dict(sweep(system)["oldest_pending_seconds"])


def test_the_reported_age_of_a_message_that_no_consumer_receives_grows(system: World) -> None:
    published(system, Topic.PRICING, "key")
    system.advance(3_000)
    assert pending(system) == {Channel.EMAIL: 3_000}
    system.settle()
    assert not pending(system)


def test_the_reported_age_of_a_message_that_is_received_repeatedly_grows(system: World) -> None:
    """SQS excludes messages that were received three times from its metric of the oldest message's age."""
    system.slack.fail("rate_limited", retry_after=60)
    published(system, Topic.SALES, "key")
    received = 0
    for _ in range(10):
        received += system.consume(Channel.SLACK)
        system.advance(200)
    assert received > 3
    assert pending(system) == {Channel.SLACK: 2_000}


def test_the_age_of_a_fallback_delivery_counts_from_the_publication_of_the_fallback(system: World) -> None:
    request_id = published(system, Topic.SALES, "key")
    system.advance(3_000)
    system.slack.fail("error", error="is_archived")
    system.consume(Channel.SLACK)
    system.produce()
    system.advance(60)
    assert system.show(request_id)["status"] == "failed"
    assert pending(system) == {Channel.EMAIL: 60}


def test_the_age_of_a_resend_counts_from_the_time_of_the_operators_resend_command(system: World) -> None:
    """If the age counted from the acceptance of the request, a resend would immediately raise an alarm."""
    request_id = published(system, Topic.SALES, "key")
    system.settle()
    system.advance(86_400)
    sweep(system)
    send_again(system, request_id, Channel.SLACK, "once more")
    system.advance(60)
    found = sweep(system)
    assert (found["open"], found["oldest_open_seconds"]) == (1, 60)
    assert found["oldest_pending_seconds"] == {Channel.SLACK: 60}


def test_an_unreadable_request_counts_as_open_and_its_reported_age_grows(system: World) -> None:
    request_id = published(system, Topic.SALES, "key")
    system.advance(60)
    sweep(system)
    reconciler.requests().items.table.update_item(
        Key={PARTITION_KEY: request_id, "sk": "REQUEST"}, UpdateExpression="REMOVE description"
    )
    system.advance(3_000)
    found = sweep(system)
    assert (found["open"], found["oldest_open_seconds"]) == (1, 3_060)


@pytest.mark.parametrize("fate", ["dead-lettered", "lost"])
def test_the_reconciler_tracks_the_fallback_of_a_bounced_mail_until_it_has_a_final_status(
    system: World, fate: str
) -> None:
    """The mail bounces long after it counted as delivered. A redrive of its dead letter waits for the fallback."""
    request_id = published(system, Topic.PRICING, "key")
    system.settle()
    system.advance(60)
    assert sweep(system)["open"] == 0
    system.publish_mail_event("bounce", 0)
    system.bring_feedback()
    system.produce()
    if fate == "lost":
        system.aws.purge(Channel.SLACK)
    else:
        system.lose_to_subscription_dlq(Channel.SLACK)
    system.advance(1_000)
    found = sweep(system)
    assert found[fate.replace("-", "_")] == [request_id]
    assert (found["open"], found["oldest_open_seconds"]) == ((1, 1_000) if fate == "lost" else (0, 0))
    system.settle()
    system.redrive()
    system.settle()
    assert system.show(request_id)["status"] == "delivered"
    assert (len(system.posts()), len(system.mails())) == (1, 1)
    system.advance(60)
    assert sweep(system)["open"] == 0


def old_letters(system: World, number: int) -> None:
    """Create `number` dead letters of requests that the fallback has delivered since."""
    for one in range(number):
        published(system, Topic.SALES, f"old {one}")
    system.lose_to_subscription_dlq(Channel.SLACK)
    system.advance(60)
    sweep(system)
    system.settle()


def test_a_request_is_not_published_again_while_its_message_may_be_among_dead_letters_not_yet_read(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each publication would add another dead letter behind the unread ones."""
    monkeypatch.setattr("reconciler.dead_letters.MOST_LETTERS", 10)
    old_letters(system, 10)
    request_id = published(system, Topic.SALES, "new")
    system.lose_to_subscription_dlq(Channel.SLACK)
    system.advance(1_000)
    found = sweep(system)
    assert (found["lost"], found["open"], len(system.dead_letters())) == ([], 1, 11)
    monkeypatch.undo()
    assert sweep(system)["dead_lettered"] == [request_id]


def test_a_request_is_not_published_again_while_its_message_may_be_among_invisible_dead_letters(system: World) -> None:
    """Dead letters are invisible while an operator reads them, or after a reconciler run was killed while reading."""
    request_id = published(system, Topic.SALES, "key")
    system.advance(1_000)
    system.lose_to_subscription_dlq(Channel.SLACK)
    url = system.cloud.subscription_dlqs[Channel.SLACK]
    assert system.cloud.sqs.receive_message(QueueUrl=url, VisibilityTimeout=30)["Messages"]
    assert sweep(system)["lost"] == []
    system.advance(60)
    assert sweep(system)["dead_lettered"] == [request_id]


def test_the_next_reconciler_run_reads_the_dead_letters_for_which_the_previous_run_had_no_time(system: World) -> None:
    """The run ends before its timeout, and counts no request as lost whose dead letter it may not have read."""
    request_id = published(system, Topic.SALES, "key")
    system.lose_to_subscription_dlq(Channel.SLACK)
    system.advance(1_000)
    found = check_requests(TIME_TO_LOCATE_MS)
    assert (found.dead_lettered, found.lost, found.open) == ([], [], 0), "and nothing was taken in"
    assert sweep(system)["dead_lettered"] == [request_id]


def sweep_of_slow_sqs(system: World, seconds: float, *, dry_run: bool = False) -> Report:
    """Sweep while each call that receives dead letters takes so many seconds. A sweep has 50 seconds."""
    began = system.now

    def slow(call: str) -> None:
        system.traveller.shift(seconds * (call == "sqs.ReceiveMessage"))

    def left() -> int:
        return 50_000 - int((system.now - began).total_seconds() * 1_000)

    system.injector.outage = slow
    report: Report = system.invoke(lambda: reconciler.check_requests(Sweep(), left, dry_run=dry_run))
    return report


def test_reading_dead_letters_for_longer_than_their_visibility_timeout_counts_as_incomplete(system: World) -> None:
    """After the timeout SQS hands out the dead letters that were read first again, before the unread ones."""
    old_letters(system, 60)
    published(system, Topic.SALES, "new")
    system.lose_to_subscription_dlq(Channel.SLACK)
    system.advance(1_000)
    assert sweep_of_slow_sqs(system, 6.5, dry_run=True).lost == []


@pytest.mark.parametrize("ends", ["delivered", "failed", "redriven in vain", "its callback redriven in vain"])
def test_the_reconciler_checks_a_request_with_a_final_status_twice_and_then_never_again(
    system: World, ends: str
) -> None:
    """Further checks of many such requests would take the time that checks of new requests need."""
    system.calls_back = True
    if "callback" in ends:
        system.bot.answers = [(410, {})] * 2
    if ends in {"failed", "redriven in vain"}:
        system.slack.fail("error", error="is_archived")
        system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    published(system, Topic.SALES, "key")
    system.settle()
    if "redriven" in ends:
        system.redrive()
        system.turn()
        assert system.dead_letters() or system.bodies(f"{CALLBACK}-dlq")
    system.advance(60)
    sweep(system)
    system.advance(SECOND_CHECK_AFTER / timedelta(seconds=1) + 60)
    sweep(system)
    system.advance(SECOND_CHECK_AFTER / timedelta(seconds=1) + 60)
    with recorded(system) as calls:
        found = sweep(system)
    assert found["open"] == 0
    # The calls concern the time of the last check and the indexes, and no single request.
    assert Counter(calls) == IDLE


IDLE = {"dynamodb.GetItem": 1, "dynamodb.Query": 1 + 4 * 2}
"""The calls of a reconciler run that has no request to check.

Each of the three indexes has two shards here; that of due requests has two more, for callbacks.
"""


def reused(system: World) -> str:
    """Create a request with the id of an earlier, delivered one, of which only the delivery record is left."""
    request_id = published(system, Topic.SALES, "key")
    system.settle()
    system.advance(91 * 86_400)
    system.cloud.table.delete_item(Key=request_key(request_id))
    assert published(system, Topic.SALES, "key") == request_id
    return request_id


@pytest.mark.parametrize("fate", ["dead-lettered", "lost"])
def test_the_reconciler_finds_a_lost_request_although_items_of_an_earlier_request_have_the_same_id(
    system: World, fate: str
) -> None:
    request_id = reused(system)
    if fate == "dead-lettered":
        system.lose_to_subscription_dlq(Channel.SLACK)
    system.aws.purge(Channel.SLACK)
    system.advance(1_000)
    assert sweep(system)[fate.replace("-", "_")] == [request_id]


OPEN = 20_000
TIMEOUT = 50.0
"""The reconciler's timeout in seconds, as in infra/reconciler.py."""
A_CALL = 0.002
"""Seconds that a call takes. The reconciler makes ten calls in parallel, here one after another: so it means 20 ms."""


def accept_many(system: World, number: int) -> None:
    """Store published requests without their messages. One message in the queue keeps them from counting as lost."""
    for one in range(number):
        system.traveller.shift(0.01)
        request = AssistanceRequest(
            id=f"01900000-0000-7000-8000-{one:012d}",
            topic=Topic.SALES,
            description="hush",
            created_at=timestamp(system.now),
        )
        requests().accept(request, payload_hash="", retention=timedelta(days=90))
        requests().items.mark_published(request_key(request.id), [Channel.SLACK], timestamp(system.now))
    system.read_stream()
    system.stream.clear()
    system.cloud.sqs.send_message(QueueUrl=system.cloud.queues[Channel.SLACK], MessageBody="one of many")


def slow_sweep(system: World) -> tuple[Report, float]:
    """Run the reconciler with slow calls. Returns its report, and the seconds left before its timeout."""
    began = system.now

    def left() -> float:
        return TIMEOUT - (system.now - began).total_seconds()

    system.injector.outage = lambda _: system.traveller.shift(A_CALL)
    found: Report = system.invoke(
        lambda: reconciler.check_requests(Sweep(), lambda: int(1_000 * left()), dry_run=False)
    )
    system.injector.outage = lambda _: None
    return found, left()


def test_the_reconciler_finds_a_dead_letter_in_time_among_twenty_thousand_open_requests(system: World) -> None:
    accept_many(system, OPEN)
    system.advance(60)
    for _ in range(10):
        found, left = slow_sweep(system)
        assert left > 0
        if found.complete:
            break
    assert (found.complete, found.open, found.lost) == (True, OPEN, [])
    request_id = published(system, Topic.PRICING, "dead")
    system.lose_to_subscription_dlq(Channel.EMAIL)
    system.advance(60)
    found, left = slow_sweep(system)
    assert (found.dead_lettered, found.open) == ([request_id], OPEN + 1)
    assert left > TIMEOUT / 2


def test_a_crashed_attempt_no_longer_counts_as_running_after_the_next_attempt_was_postponed(system: World) -> None:
    """If it counted, the operator would look for a hanging Lambda process, while in fact Slack limits the rate."""
    request_id = published(system, Topic.SALES, "key")
    break_at(system, "http.chat.postMessage", Kind.CRASH_AFTER, lambda: system.consume(Channel.SLACK, 1))
    system.advance(1_000)
    system.slack.fail("rate_limited", retry_after=600)
    system.consume(Channel.SLACK, 1)
    found = sweep(system)
    assert (found["stuck"], dict(found["places"])) == ([], {"sales/slack/retrying": 1})
    [delivery] = system.show(request_id)["deliveries"]
    assert (delivery["status"], "next_attempt_at" in delivery) == ("retrying", True)
    assert delivery["timeline"] == [{"at": "2026-03-01T12:00:00.000Z", "outcome": "unknown", "in_doubt": True}]
    system.heal()
    system.settle()
    assert system.posts() == {(request_id, None): 1}


def test_the_reconciler_does_not_count_a_request_just_published_after_an_outage_as_lost(system: World) -> None:
    """SNS needs time to deliver to the queue, and the number of messages that SQS reports may be a minute old."""
    published_after_an_outage(system)
    with patch("assistance.engine.dead_letters.depth", return_value=Depth(0, 0)):
        found = sweep(system)
        assert (found["lost"], found["places"]) == ([], {"sales/slack/queued": 1})
        system.aws.purge(Channel.SLACK)
        system.advance(1_000)
        assert len(sweep(system)["lost"]) == 1


def test_a_dead_letter_of_an_earlier_request_with_the_same_id_does_not_fail_the_later_request(system: World) -> None:
    """A dead letter that was redriven repeatedly may be kept for longer than its request."""
    request_id = published(system, Topic.SALES, "key")
    system.lose_to_subscription_dlq(Channel.SLACK)
    system.advance(91 * 86_400)
    [letter] = system.dead_letters()
    system.cloud.table.delete_item(Key=request_key(request_id))
    assert published(system, Topic.SALES, "key") == request_id
    system.advance(60)
    assert sweep(system)["dead_lettered"] == []
    assert system.show(request_id)["status"] == "published"
    system.lose_to_subscription_dlq(Channel.SLACK)
    assert letter in system.dead_letters()
    assert sweep(system)["dead_lettered"] == [request_id]


@pytest.mark.parametrize("fate", ["dead_lettered", "lost"])
def test_a_reconciler_run_with_many_lost_messages_and_dead_letters_ends_before_its_timeout(
    system: World, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    """A killed run reports nothing."""
    accept_many(system, 400)
    system.advance(1_000)
    assert slow_sweep(system)[0].open == 400
    if fate == "lost":
        system.aws.purge(Channel.SLACK)
    else:
        for one in range(400):
            body = json.dumps({"request": {"id": f"01900000-0000-7000-8000-{one:012d}"}})
            system.cloud.sqs.send_message(QueueUrl=system.cloud.dlqs[Channel.SLACK], MessageBody=body)
    monkeypatch.setattr("tests.faults.test_open_requests.A_CALL", 0.1)
    done = set[str]()
    for _ in range(6):
        found, left = slow_sweep(system)
        assert left > 0
        assert not done & set(getattr(found, fate)), "each once"
        done |= set(getattr(found, fate))
    assert (found.complete, len(done)) == (True, 400)


@contextmanager
def unlisted(request_id: str) -> Iterator[None]:
    """Within the context, hide this request from the ledger, the table's index of all accepted requests."""
    accepted = Items.accepted

    def lagging(items: Items, since: str, until: str) -> Iterator[Any]:
        return (item for item in accepted(items, since, until) if item[PARTITION_KEY] != request_id)

    with patch.object(Items, "accepted", lagging):
        yield


def test_the_reconciler_tracks_a_request_that_the_dynamodb_index_lists_minutes_late(system: World) -> None:
    """DynamoDB does not guarantee how soon an index contains a change of its table."""
    request_id = published(system, Topic.SALES, "key")
    system.lose_to_subscription_dlq(Channel.SLACK)
    with unlisted(request_id):
        for key in ("one", "two", "three"):
            system.advance(200)
            published(system, Topic.PRICING, key)
            assert sweep(system)["dead_lettered"] == []
    for _ in range(2):
        system.advance(SECOND_CHECK_AFTER / timedelta(seconds=1) / 2)
        sweep(system)
    assert system.show(request_id)["status"] == "failed"


def test_the_next_reconciler_run_makes_the_second_checks_for_which_the_previous_run_had_no_time(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept_many(system, 400)
    with patch.object(Items, "accepted", lambda *_: iter(())):
        assert slow_sweep(system)[0].open == 0
    reconciler.requests().items.put({**PROGRESS_KEY, "looked_until": timestamp(system.now), "damaged": []})
    system.advance(SECOND_CHECK_AFTER / timedelta(seconds=1) + 60)
    monkeypatch.setattr("tests.faults.test_open_requests.A_CALL", 0.1)
    (first, left), (second, _) = slow_sweep(system), slow_sweep(system)
    assert left > 0
    assert (first.complete, second.complete) == (False, True)
    assert 0 < first.open < second.open == 400


def before_call(system: World, call: str, last: int, step: Callable[[], object]) -> dict[str, Any]:
    """Run the reconciler, and take the step just before one of its calls named `call`, the one with the index `last`.

    Returns the report of the run.
    """
    with recorded(system) as calls:
        system.reconcile(dry_run=True)
    numbers = [number for number, name in enumerate(calls) if name == call]
    system.advance(60)
    system.injector.plan(None, (numbers[last], step))
    return sweep(system)


def overdue(system: World) -> str:
    """Create a request whose message is so old that the next reconciler run checks whether it is lost."""
    request_id = published(system, Topic.SALES, "key")
    for seconds in (60, 1_000):
        system.advance(seconds)
        sweep(system)
    system.advance(60)
    return request_id


@pytest.mark.parametrize("fate", ["unpublished", "lost", "dead letter"])
def test_a_sweep_that_an_operator_starts_during_another_one_sends_nothing_twice(system: World, fate: str) -> None:
    number, calls = 0, 1
    while number < calls:
        system.reset()
        request_id = overdue(system)
        if fate == "unpublished":
            system.accept_for_sure(Topic.SALES, "hush", "other")
            system.read_stream()
            system.stream.clear()
            system.advance(60)
        elif fate == "lost":
            system.aws.purge(Channel.SLACK)
        else:
            system.lose_to_subscription_dlq(Channel.SLACK)
        system.injector.plan(None, (number, partial(sweep, system)))
        sweep(system)
        calls = len(system.injector.calls)
        system.heal()
        system.settle()
        assert system.show(request_id)["status"] == "delivered"
        number += 1


def test_a_dead_letter_that_an_operator_has_received_during_a_reconciler_run_does_not_count_as_lost(
    system: World,
) -> None:
    request_id = overdue(system)
    system.lose_to_subscription_dlq(Channel.SLACK)
    url = system.cloud.subscription_dlqs[Channel.SLACK]

    def receive() -> None:
        assert system.cloud.sqs.receive_message(QueueUrl=url, VisibilityTimeout=30)["Messages"]

    found = before_call(system, "sqs.ReceiveMessage", 0, receive)
    assert (found["lost"], found["dead_lettered"]) == ([], [])
    system.advance(60)
    assert sweep(system)["dead_lettered"] == [request_id]


def test_a_message_that_sqs_moves_to_the_dead_letter_queue_during_a_reconciler_run_is_not_counted_as_lost(
    system: World,
) -> None:
    request_id = overdue(system)

    def move() -> None:
        [body] = system.bodies(Channel.SLACK)
        system.cloud.sqs.send_message(QueueUrl=system.cloud.dlqs[Channel.SLACK], MessageBody=body)
        system.aws.purge(Channel.SLACK)

    found = before_call(system, "sqs.GetQueueAttributes", -1, move)
    assert (found["lost"], found["dead_lettered"]) == ([], [])
    system.advance(60)
    assert sweep(system)["dead_lettered"] == [request_id]


@pytest.mark.parametrize("ahead", [60, 3_600])
def test_a_reconciler_run_with_a_fast_clock_does_not_hide_requests_accepted_after_that_run(
    system: World, ahead: int
) -> None:
    published(system, Topic.PRICING, "before")
    now = system.now
    system.traveller.move_to(now + timedelta(seconds=ahead))
    sweep(system)
    system.traveller.move_to(now)
    system.advance(10)
    request_id = published(system, Topic.SALES, "key")
    system.lose_to_subscription_dlq(Channel.SLACK)
    found = []
    for _ in range(2):
        system.advance(60)
        found += sweep(system)["dead_lettered"]
    assert found == [request_id]


def sweep_that_reads_one_a_second(system: World, monkeypatch: pytest.MonkeyPatch, read: list[str]) -> Report:
    """Sweep for 50 seconds at most, of which reading a watched request takes one. Adds its id to `read`."""
    due, ends = Items.due, system.now + timedelta(seconds=50)

    def slowly(items: Items, *which: Any) -> Iterator[Any]:  # noqa: ANN401
        for item in due(items, *which):
            system.advance(1)
            read.append(item[PARTITION_KEY])
            yield item

    monkeypatch.setattr(Items, "due", slowly)
    remaining = timedelta(milliseconds=1)
    return reconciler.check_requests(Sweep(), lambda: (ends - system.now) // remaining, dry_run=False)


def test_a_sweep_without_time_for_all_untaken_requests_escalates_some(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reconciler was off, and the time to take sixty requests has ended meanwhile."""
    system.deploy(STAFFED)
    request_ids = [published(system, Topic.SALES, f"key {number}") for number in range(60)]
    system.settle()
    system.advance(60 * ESCALATE_AFTER)
    ends = system.now + timedelta(seconds=50)
    report = sweep_that_reads_one_a_second(system, monkeypatch, [])
    assert system.now < ends, "Lambda has not killed it"
    assert not report.complete
    assert len(report.untaken) > 40
    assert set(report.untaken) < set(request_ids)
    system.deploy({})


def test_a_sweep_without_time_for_all_open_requests_checks_the_longest_due_ones_and_the_new_ones(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading an open request takes a second here, so that sixty take longer than a sweep may."""
    opened = [published(system, Topic.SALES, f"open {number}") for number in range(60)]
    system.advance(60)
    sweep(system)
    system.slack.fail("status", status=503)
    system.consume(Channel.SLACK)
    due_last = {request_id for request_id in opened if system.show(request_id)["status"] == "retrying"}
    new = published(system, Topic.PRICING, "new")
    system.lose_to_subscription_dlq(Channel.EMAIL)
    system.advance(31)
    ends, read = system.now + timedelta(seconds=50), list[str]()
    report = sweep_that_reads_one_a_second(system, monkeypatch, read)
    assert system.now < ends, "Lambda has not killed it"
    assert report.dead_lettered == [new]
    assert not report.complete
    assert due_last
    assert due_last.isdisjoint(read)


def test_a_message_that_sqs_has_deleted_is_published_again_although_its_queue_is_never_empty(system: World) -> None:
    """An operator has disabled the consumer for five days, and other requests come in all the time."""
    request_ids = []
    for number in range(6):
        request_ids.append(published(system, Topic.SALES, f"key-{number}"))
        system.advance(86_400)
        assert system.bodies(Channel.SLACK)
        sweep(system)
        system.produce()
    system.advance(3_600)
    assert sweep(system)["lost"] == [request_ids[2]]
    system.produce()
    assert set(map(request_id_in, system.bodies(Channel.SLACK))) == set(request_ids)
    system.settle()
    assert system.posts() == {(request_id, None): 1 for request_id in request_ids}


def test_the_reconciler_knows_how_long_a_channels_queue_keeps_a_message() -> None:
    assert timedelta(days=QUEUE_RETENTION_DAYS) == QUEUE_RETENTION
