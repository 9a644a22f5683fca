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
from tests.faults.test_failures_of_other_designs import HUSH, break_at, published, recorded, send_again, status
from tests.faults.world import World
from tests.integration.cloud import forget

BATCH = QUEUES[Channel.SLACK].size
CAME_IN = 20
"""Requests per second, far more than the one post per second that Slack accepts."""
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


def come_in(here: World, number: int) -> None:
    for _ in range(number):
        here.accept_for_sure(
            Topic.SALES, "A quote for forty seats, please, and how long it is valid. " * 2, f"key {len(here.accepted)}"
        )
    here.produce()


@pytest.mark.usefixtures("draws")
def test_a_backlog_of_slack_messages_shrinks_while_twenty_requests_arrive_each_second(here: World) -> None:
    """With Slack's limit of one post a second, and two batches that run in parallel."""
    here.slack.workspace.limit(1)
    come_in(here, BACKLOG)
    for second in count(1):
        come_in(here, CAME_IN)
        for _ in range(2):
            here.consume(Channel.SLACK, BATCH)
            here.advance(0.5)
        assert len(here.slack.messages) <= second
        if len(here.bodies(Channel.SLACK)) <= CAME_IN / 2:
            break
        assert second < BACKLOG, "it does not drain"
    assert set(here.posts().values()) == {1}
    assert here.posts().total() + len(here.bodies(Channel.SLACK)) == BACKLOG + second * CAME_IN
    assert not here.dead_letters()


def test_a_single_request_is_posted_alone_and_a_hundred_waiting_requests_share_a_few_slack_digests(here: World) -> None:
    for _ in range(5):
        come_in(here, 1)
        here.consume(Channel.SLACK, BATCH)
    assert len(here.slack.messages) == 5
    assert all(message["text"].startswith("Sales: A quote") for message in here.slack.messages)
    here.slack.messages.clear()
    come_in(here, 100)
    while here.consume(Channel.SLACK, BATCH):
        pass
    assert here.posts().total() == 100
    assert len(here.slack.messages) == 100 / BATCH, "one of each batch"


def test_only_the_request_that_slack_refuses_fails_and_the_others_of_its_digest_are_delivered(here: World) -> None:
    good = [published(here, key=str(number)) for number in range(3)]
    bad = here.accept_for_sure(Topic.SALES, "poison", "poison")
    here.produce()
    here.slack.fail("error", error="invalid_blocks", holding="poison")
    here.consume(Channel.SLACK)
    assert not here.slack.messages
    here.advance(10)
    here.consume(Channel.SLACK)
    assert [status(here, request_id) for request_id in [*good, bad]] == ["delivered"] * 3 + ["failed"]
    assert len(here.dead_letters()) == 1
    here.settle()
    assert status(here, bad) == "delivered", "by the fallback"


def test_digests_contain_fewer_requests_after_slack_refused_a_digest_as_too_long(here: World) -> None:
    """Slack documents no limit, so the limit that was measured may change."""
    here.slack.fail("error", error="msg_blocks_too_long", times=2)
    # The second digest has no dividers.
    for _ in range(3):
        come_in(here, BATCH)
        here.consume(Channel.SLACK, BATCH)
    first, second = (len(each["metadata"]["event_payload"]["requests"]) for each in here.slack.messages)
    assert BATCH / 2 < first < BATCH
    assert first + second == BATCH


def test_a_digest_refused_for_a_reason_that_applies_to_every_request_is_not_split_and_retried(here: World) -> None:
    for number in range(3):
        published(here, key=str(number))
    here.slack.fail("error", error="is_archived")
    with recorded(here) as calls:
        here.consume(Channel.SLACK)
    assert calls.count("http.chat.postMessage") == 1
    assert len(here.dead_letters()) == 3


@pytest.mark.parametrize("kind", [Kind.CRASH_AFTER, Kind.TIMEOUT_AFTER, Kind.CRASH_BEFORE])
def test_requests_with_unknown_outcome_share_one_search_of_slacks_history_and_each_is_posted_once(
    here: World, kind: Kind
) -> None:
    ids = [published(here, key=str(number)) for number in range(4)]
    break_at(here, "http.chat.postMessage", kind, lambda: here.consume(Channel.SLACK))
    here.advance(200)
    # The new request does not wait for those with unknown outcome, and is not searched for.
    ids.append(published(here, key="new"))
    with recorded(here) as calls:
        here.consume(Channel.SLACK)
    assert calls.count("http.conversations.history") == 1
    assert {status(here, request_id) for request_id in ids} == {"delivered"}
    assert here.posts() == {(request_id, None): 1 for request_id in ids}
    assert [len(message["blocks"]) for message in here.slack.messages if "new Sales requests" in message["text"]] == [8]


def test_a_rate_limit_postpones_every_request_of_a_digest_and_does_not_count_as_an_attempt(here: World) -> None:
    ids = [published(here, key=str(number)) for number in range(3)]
    here.slack.fail("rate_limited", retry_after=7, times=1)
    here.consume(Channel.SLACK)
    for request_id in ids:
        [delivery] = here.show(request_id)["deliveries"]
        assert (delivery["status"], delivery["attempts"]) == ("retrying", 0)
    here.settle()
    assert set(here.posts().values()) == {1}


@pytest.mark.usefixtures("draws")
def test_a_rate_limit_shorter_than_one_hour_fails_no_request_even_if_few_attempts_are_allowed(
    here: World,
) -> None:
    """SQS counts each receive, and moves a message to the dead-letter queue after too many."""
    queue = here.aws.sqs.queues[Channel.SLACK]  # type: ignore[attr-defined]
    with patch.dict(os.environ, {"RETRY_ATTEMPTS": "1"}), patch.object(queue, "most", MAX_RECEIVES):
        forget()
        here.slack.fail("rate_limited", retry_after=1)
        request_id = published(here)
        for _ in range(55 * 60):
            here.consume(Channel.SLACK)
            here.advance(1)
        here.heal()
        here.settle()
    assert here.posts() == {(request_id, None): 1}
    assert not here.dead_letters()


def test_a_resend_is_posted_alone_and_never_in_a_digest(here: World) -> None:
    request_id = published(here)
    here.consume(Channel.SLACK)
    others = [published(here, key=str(number)) for number in range(2)]
    send_again(here, request_id, Channel.SLACK, "once more")
    here.consume(Channel.SLACK)
    assert here.posts() == {(one, None): 1 for one in [request_id, *others]} | {(request_id, "once more"): 1}
    texts = sorted(message["text"] for message in here.slack.messages)
    assert texts == ["2 new Sales requests", *[f"Sales: {HUSH}"] * 2]


def test_many_fallback_messages_share_digests_and_each_entry_says_why_the_request_was_sent_to_slack(
    here: World,
) -> None:
    """Here Slack accepts one post in ten minutes.

    Posted one by one, most requests would fail after an hour of rate limits.
    """
    here.slack.workspace.limit(600)
    here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    queue = here.aws.sqs.queues[Channel.SLACK]  # type: ignore[attr-defined]
    ids = [published(here, Topic.PRICING, str(number)) for number in range(BATCH)]
    while here.consume(Channel.EMAIL):
        here.produce()
    with patch.object(queue, "most", MAX_RECEIVES):
        for _ in range(120):
            here.consume(Channel.SLACK, BATCH)
            here.advance(60)
    assert {status(here, request_id) for request_id in ids} == {"delivered"}
    assert here.posts() == {(request_id, None): 1 for request_id in ids}
    assert len(here.slack.messages) < 6
    told = [json.dumps(message["blocks"]).count("Sent here because") for message in here.slack.messages]
    assert sum(told) == len(ids)
