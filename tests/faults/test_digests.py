"""Tests digests: if requests exceed Slack's rate, several share a message. Each has its own lock and outcome."""

import json
import os
import random
from collections.abc import Iterator
from functools import partial
from itertools import count
from unittest.mock import patch

import pytest

from assistance.engine.delivery import Consumer
from assistance.routing import Channel, Topic
from infra.batches import QUEUES
from infra.retries import MAX_RECEIVES
from tests.faults.fault_injection import Kind
from tests.faults.sequential_executor import InTurn
from tests.faults.test_failures_of_other_designs import CONFIDENTIAL, break_at, published, recorded, send_again, status
from tests.faults.world import World
from tests.integration.cloud import forget

BATCH = QUEUES[Channel.SLACK].size
CAME_IN = 20
"""Requests that arrive each second: far more than the one post a second that Slack accepts."""
BACKLOG = 40


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the retry delays random, as they are when deployed."""
    drawn = random.Random(1).uniform  # noqa: S311
    monkeypatch.setattr("assistance.engine.consumer.Consumer", partial(Consumer, pool=InTurn, jitter=drawn))
    forget()
    yield
    monkeypatch.undo()
    forget()


def come_in(system: World, number: int) -> None:
    for _ in range(number):
        system.accept_for_sure(
            Topic.SALES,
            "A quote for forty seats, please, and how long it is valid. " * 2,
            f"key {len(system.accepted)}",
        )
    system.produce()


@pytest.mark.usefixtures("draws")
def test_a_backlog_of_slack_messages_shrinks_while_twenty_requests_arrive_each_second(system: World) -> None:
    """Slack accepts one post a second, and the consumer handles two batches a second."""
    system.slack.workspace.limit(1)
    come_in(system, BACKLOG)
    for second in count(1):
        come_in(system, CAME_IN)
        for _ in range(2):
            system.consume(Channel.SLACK, BATCH)
            system.advance(0.5)
        assert len(system.slack.messages) <= second
        if len(system.bodies(Channel.SLACK)) <= CAME_IN / 2:
            break
        assert second < BACKLOG, "it does not drain"
    assert set(system.posts().values()) == {1}
    assert system.posts().total() + len(system.bodies(Channel.SLACK)) == BACKLOG + second * CAME_IN
    assert not system.dead_letters()


def test_a_single_request_is_posted_alone_and_a_hundred_waiting_requests_share_a_few_slack_digests(
    system: World,
) -> None:
    for _ in range(5):
        come_in(system, 1)
        system.consume(Channel.SLACK, BATCH)
    assert len(system.slack.messages) == 5
    assert all(message["text"].startswith("Sales: A quote") for message in system.slack.messages)
    system.slack.messages.clear()
    come_in(system, 100)
    while system.consume(Channel.SLACK, BATCH):
        pass
    assert system.posts().total() == 100
    assert len(system.slack.messages) == 100 / BATCH, "one of each batch"


def test_only_the_request_that_slack_refuses_fails_and_the_others_of_its_digest_are_delivered(system: World) -> None:
    good = [published(system, key=str(number)) for number in range(3)]
    bad = system.accept_for_sure(Topic.SALES, "poison", "poison")
    system.produce()
    system.slack.fail("error", error="invalid_blocks", holding="poison")
    system.consume(Channel.SLACK)
    assert not system.slack.messages
    system.advance(10)
    system.consume(Channel.SLACK)
    assert [status(system, request_id) for request_id in [*good, bad]] == ["delivered"] * 3 + ["failed"]
    assert len(system.dead_letters()) == 1
    system.settle()
    assert status(system, bad) == "delivered", "by the fallback"


@pytest.mark.usefixtures("draws")
@pytest.mark.parametrize("error", ["internal_error", "fatal_error", "a_code_that_slack_does_not_document"])
def test_a_request_that_always_causes_an_error_inside_slack_does_not_fail_the_others_of_its_digest(
    system: World, error: str
) -> None:
    """The delay after an attempt in doubt is at least 30 seconds, so the requests of a digest come back together."""
    good = [published(system, key=str(number)) for number in range(3)]
    bad = system.accept_for_sure(Topic.SALES, "poison", "poison")
    system.produce()
    system.slack.fail("error", error=error, holding="poison")
    for _ in range(3 * 60):
        system.consume(Channel.SLACK, BATCH)
        system.advance(1)
    assert {status(system, request_id) for request_id in good} == {"delivered"}
    assert system.posts() == {(request_id, None): 1 for request_id in good}
    system.settle()
    assert status(system, bad) == "delivered", "by the fallback"
    assert set(system.mails()) == {bad}


@pytest.mark.usefixtures("draws")
def test_a_digest_is_not_split_while_slack_does_not_answer(system: World) -> None:
    ids = [published(system, key=str(number)) for number in range(4)]
    system.slack.fail("status", status=503, method="chat.postMessage", times=2)
    for _ in range(2 * 60):
        system.consume(Channel.SLACK, BATCH)
        system.advance(1)
    assert {status(system, request_id) for request_id in ids} == {"delivered"}
    assert len(system.slack.messages) == 1


def test_digests_contain_fewer_requests_after_slack_refused_a_digest_as_too_long(system: World) -> None:
    """The consumer uses a measured limit. Slack documents none, so it may change."""
    system.slack.fail("error", error="msg_blocks_too_long", times=2)
    # The second digest has no dividers.
    for _ in range(3):
        come_in(system, BATCH)
        system.consume(Channel.SLACK, BATCH)
    first, second = (len(each["metadata"]["event_payload"]["requests"]) for each in system.slack.messages)
    assert BATCH / 2 < first < BATCH
    assert first + second == BATCH


def test_a_digest_refused_for_a_reason_that_applies_to_every_request_is_not_split_and_retried(system: World) -> None:
    for number in range(3):
        published(system, key=str(number))
    system.slack.fail("error", error="is_archived")
    with recorded(system) as calls:
        system.consume(Channel.SLACK)
    assert calls.count("http.chat.postMessage") == 1
    assert len(system.dead_letters()) == 3


@pytest.mark.parametrize("kind", [Kind.CRASH_AFTER, Kind.TIMEOUT_AFTER, Kind.CRASH_BEFORE])
def test_requests_with_unknown_outcome_share_one_search_of_slacks_history_and_each_is_posted_once(
    system: World, kind: Kind
) -> None:
    ids = [published(system, key=str(number)) for number in range(4)]
    break_at(system, "http.chat.postMessage", kind, lambda: system.consume(Channel.SLACK))
    system.advance(200)
    # The new request does not wait for those with unknown outcome, and is not searched for.
    ids.append(published(system, key="new"))
    with recorded(system) as calls:
        system.consume(Channel.SLACK)
    assert calls.count("http.conversations.history") == 1
    assert {status(system, request_id) for request_id in ids} == {"delivered"}
    assert system.posts() == {(request_id, None): 1 for request_id in ids}
    assert [len(message["blocks"]) for message in system.slack.messages if "new sales requests" in message["text"]] == [
        8
    ]


def test_a_rate_limit_postpones_every_request_of_a_digest_and_does_not_count_as_an_attempt(system: World) -> None:
    ids = [published(system, key=str(number)) for number in range(3)]
    system.slack.fail("rate_limited", retry_after=7, times=1)
    system.consume(Channel.SLACK)
    for request_id in ids:
        [delivery] = system.show(request_id)["deliveries"]
        assert (delivery["status"], delivery["attempts"]) == ("retrying", 0)
    system.settle()
    assert set(system.posts().values()) == {1}


@pytest.mark.usefixtures("draws")
def test_a_rate_limit_shorter_than_one_hour_fails_no_request_even_if_few_attempts_are_allowed(
    system: World,
) -> None:
    """Each rate limit costs one receive, and SQS moves a message to the dead-letter queue after too many receives."""
    queue = system.aws.sqs.queues[Channel.SLACK]  # type: ignore[attr-defined]
    with patch.dict(os.environ, {"RETRY_ATTEMPTS": "1"}), patch.object(queue, "most", MAX_RECEIVES):
        forget()
        system.slack.fail("rate_limited", retry_after=1)
        request_id = published(system)
        for _ in range(55 * 60):
            system.consume(Channel.SLACK)
            system.advance(1)
        system.heal()
        system.settle()
    assert system.posts() == {(request_id, None): 1}
    assert not system.dead_letters()


def test_a_resend_is_posted_alone_and_never_in_a_digest(system: World) -> None:
    request_id = published(system)
    system.consume(Channel.SLACK)
    others = [published(system, key=str(number)) for number in range(2)]
    send_again(system, request_id, Channel.SLACK, "once more")
    system.consume(Channel.SLACK)
    assert system.posts() == {(one, None): 1 for one in [request_id, *others]} | {(request_id, "once more"): 1}
    texts = sorted(message["text"] for message in system.slack.messages)
    assert texts == ["2 new sales requests", *[f"Sales: {CONFIDENTIAL}"] * 2]


def test_many_fallback_messages_share_digests_and_each_entry_says_why_the_request_was_sent_to_slack(
    system: World,
) -> None:
    """Slack accepts one post in ten minutes. One by one, most requests would fail after an hour of rate limits."""
    system.slack.workspace.limit(600)
    system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    queue = system.aws.sqs.queues[Channel.SLACK]  # type: ignore[attr-defined]
    ids = [published(system, Topic.PRICING, str(number)) for number in range(BATCH)]
    while system.consume(Channel.EMAIL):
        system.produce()
    with patch.object(queue, "most", MAX_RECEIVES):
        for _ in range(120):
            system.consume(Channel.SLACK, BATCH)
            system.advance(60)
    assert {status(system, request_id) for request_id in ids} == {"delivered"}
    assert system.posts() == {(request_id, None): 1 for request_id in ids}
    assert len(system.slack.messages) < 6
    counts = [json.dumps(message["blocks"]).count("Sent here because") for message in system.slack.messages]
    assert sum(counts) == len(ids)
