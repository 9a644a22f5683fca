"""Tests searches of Slack's history: one that fails or is slow prevents no other request's delivery."""

import json
import os
from collections.abc import Callable
from unittest.mock import patch

import pytest

from assistance.routing import Channel, Topic
from infra.batches import QUEUES
from infra.config import Config
from tests.faults.conftest import Deploy
from tests.faults.fault_injection import Kind
from tests.faults.humans import STAFFED
from tests.faults.system import ATTEMPTS, requests
from tests.faults.test_failures_of_other_designs import CONFIDENTIAL, break_at, published, status
from tests.faults.world import World
from tests.integration.cloud import forget

BATCH = QUEUES[Channel.SLACK].size
OLD = "C0ANNEX"
"""A Slack channel that a search reads before C0ASSIST, since it reads the channels in the order of their ids."""


@pytest.mark.parametrize("error", ["channel_is_limited_access", "access_denied", "internal_error"])
@pytest.mark.parametrize("posted", [Kind.CRASH_AFTER, Kind.CRASH_BEFORE])
def test_an_archived_slack_channel_fails_no_request_that_was_posted_in_another_slack_channel(
    system: World, error: str, posted: Kind
) -> None:
    with patch.dict(os.environ, {"SLACK_CHANNEL": OLD}):
        forget()
        published(system, key="old")
        break_at(system, "http.chat.postMessage", Kind.CRASH_BEFORE, lambda: system.consume(Channel.SLACK))
    forget()
    system.advance(60)
    new = [published(system, key=str(number)) for number in range(3)]
    break_at(system, "http.chat.postMessage", posted, lambda: system.consume(Channel.SLACK))
    system.slack.fail("error", error=error, holding=OLD)
    system.advance(200)
    system.consume(Channel.SLACK)
    assert [status(system, one) for one in new] == ["delivered"] * 3
    assert system.posts() == {(one, None): 1 for one in new}


@pytest.mark.parametrize(("delay", "late"), [(30, 29), (900, 899)])
def test_a_message_that_slack_posts_just_before_the_end_of_retry_doubt_delay_is_not_posted_again(
    system: World, delay: int, late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system.injector, "later", lambda call, _: system.later(call, late))
    with patch.dict(os.environ, {"RETRY_DOUBT_DELAY": str(delay)}):
        forget()
        request_id = published(system)
        break_at(system, "http.chat.postMessage", Kind.TIMEOUT_LATE, lambda: system.consume(Channel.SLACK))
        system.settle()
    forget()
    assert (status(system, request_id), system.posts()) == ("delivered", {(request_id, None): 1})


def test_a_message_found_in_a_former_slack_channel_is_recorded_with_that_channel(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`assistance erase` lists the channel and the id of each message, for the operator to delete it."""
    monkeypatch.setattr(system.slack.workspace, "channels", frozenset({OLD, "C0ASSIST"}))
    with patch.dict(os.environ, {"SLACK_CHANNEL": OLD}):
        forget()
        request_id = published(system)
        break_at(system, "http.chat.postMessage", Kind.CRASH_AFTER, lambda: system.consume(Channel.SLACK))
    forget()
    system.settle()
    [message], delivery = system.slack.messages, requests().read(request_id).record.delivery(Channel.SLACK)
    assert delivery is not None
    sent = delivery.attempts[-1]
    assert (sent.place, sent.result) == (message["channel"], message["ts"]) == (OLD, message["ts"])


def test_a_message_whose_button_a_person_presses_is_recorded_in_the_slack_channel_of_that_message(
    system: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later attempt, which was to post in another channel, has posted nothing."""
    monkeypatch.setattr(system.slack.workspace, "channels", frozenset({OLD, "C0ASSIST"}))
    system.deploy(STAFFED)
    with patch.dict(os.environ, {"SLACK_CHANNEL": OLD}):
        forget()
        request_id = published(system, Topic.SALES)
        break_at(system, "http.chat.postMessage", Kind.CRASH_AFTER, lambda: system.consume(Channel.SLACK))
    forget()
    system.advance(200)
    break_at(system, "http.conversations.history", Kind.CRASH_BEFORE, lambda: system.consume(Channel.SLACK))
    system.press_for_sure("anna", request_id)
    [message], delivery = system.slack.messages, requests().read(request_id).record.delivery(Channel.SLACK)
    assert delivery is not None
    [sent] = [each for each in delivery.attempts if each.result == message["ts"]]
    assert sent.place == message["channel"] == OLD


def take_long(system: World, seconds: float) -> Callable[[], bool]:
    """Return a function that runs the consumer for a batch, and kills it at Lambda's timeout.

    It returns whether there was one. `seconds`: the time that Slack takes for each page of its history.
    """

    def consume() -> bool:
        began = system.now

        def slow(call: str) -> Kind | None:
            if call == "http.conversations.history":
                system.traveller.shift(seconds)
            killed = (system.now - began).total_seconds() > Config().consumer_timeout_seconds
            return Kind.CRASH_BEFORE if killed else None

        system.injector.outage = slow
        try:
            return system.consume(Channel.SLACK, BATCH)
        finally:
            system.injector.outage = lambda _: None

    return consume


def redriven(system: World) -> list[str]:
    """Create requests whose last attempt had an unknown outcome, 15 minutes apart, and redrive them together."""
    system.slack.fail("status", status=503)
    ids = []
    for number in range(BATCH):
        ids.append(system.accept_for_sure("support", CONFIDENTIAL, str(number)))
        system.produce()
        for _ in range(3):
            system.consume(Channel.SLACK)
            system.advance(60)
        system.advance(720)
    assert len(system.bodies("slack-dlq")) == BATCH
    system.heal()
    system.redrive()
    return ids


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_requests_that_failed_in_a_slack_outage_are_delivered_by_a_redrive_while_slack_is_slow(
    system: World, deploy: Deploy, seconds: float
) -> None:
    deploy(["slack"], None)
    ids = redriven(system)
    consume = take_long(system, seconds)
    for _ in range(BATCH):
        consume()
        system.advance(60)
    assert {status(system, one) for one in ids} == {"delivered"}
    attempts = {each["attempts"] for one in ids for each in system.show(one)["deliveries"]}
    assert attempts == {ATTEMPTS + 1}, "what is put off counts for no attempt"
    assert system.posts() == {(one, None): 1 for one in ids}


@pytest.mark.parametrize("seconds", [0.1, 6])
def test_a_channel_history_too_long_to_search_uses_up_the_attempts_and_the_fallback_delivers(
    system: World, seconds: float
) -> None:
    request_id = published(system)
    break_at(system, "http.chat.postMessage", Kind.CRASH_BEFORE, lambda: system.consume(Channel.SLACK))
    page = {"ok": True, "messages": [], "has_more": True, "response_metadata": {"next_cursor": "next"}}
    system.slack.fail("garbled", body=json.dumps(page), method="conversations.history")
    consume = take_long(system, seconds)
    for _ in range(ATTEMPTS):
        system.advance(200)
        consume()
    system.settle()
    ends = [(each["channel"], each["status"], each.get("last_error")) for each in system.show(request_id)["deliveries"]]
    assert ends == [("slack", "failed", "look_up_unfinished"), ("email", "delivered", None)]
