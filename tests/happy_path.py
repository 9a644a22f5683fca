"""Counts the paid AWS usage of each function for requests that are delivered without a fault."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cache
from math import ceil
from unittest.mock import patch

import time_machine

from assistance.engine.batch_sending import Batch
from assistance.routing import ROUTES, Channel, Topic
from assistance.store.requests import request_key
from infra.batches import QUEUES
from local.slack_server import SlackServer
from reconciler.new_requests import SECOND_CHECK_AFTER
from tests.integration.cloud import Cloud, cloud_without_dynamodb, forget
from tests.integration.resources import TABLE
from tests.integration.steps import feedback
from tests.meter import Spent, Table, metered

BATCHES = (1, 10, 100)
"""Numbers of requests that are accepted, published and checked by the reconciler together."""
DESCRIPTION = (
    "We would like a quote for forty seats, billed yearly, and to know whether that brings the "
    "onboarding of two teams, or what that would cost by itself."
)
MOMENT = datetime(2026, 11, 25, 9, tzinfo=UTC)
LATER = 100
"""Seconds before a reconciler run: longer than its grace period, and than the age at which it checks a request."""
LONGEST = "€" * 4_000


@contextmanager
def running() -> Iterator[tuple[Cloud, SlackServer, time_machine.Traveller]]:
    """The system with warm functions: a request of each topic has been delivered, and then removed."""
    with (
        SlackServer(token="xoxb-local", channels=("C0ASSIST",)) as slack,
        cloud_without_dynamodb(slack.url) as stack,
        patch.dict(os.environ, stack.environment),
        time_machine.travel(MOMENT, tick=False) as clock,
        # A batch makes the same posts even on a busy machine.
        patch.dict(Batch.__init__.__kwdefaults__, patience=600.0),
    ):
        forget()
        for topic in Topic:
            warm = stack.post(topic)
            deliver(stack, topic, [warm])
            # No reconciler run must check this request, since the check would count as part of another measurement.
            stack.table.delete_item(Key=request_key(warm))
        # Once in three hours the reconciler stores the time of the next check by version 1.
        stack.reconcile()
        yield stack, slack, clock
    forget()


def metered_on(stack: Cloud) -> AbstractContextManager[Mapping[str, Spent]]:
    """Count the AWS usage within the context, by function, in a system whose table is in memory."""
    return metered(lambda _: Table(TABLE, lambda key: stack.table.get_item(Key=key).get("Item")))


def deliver(stack: Cloud, topic: Topic, request_ids: list[str]) -> None:
    """Deliver accepted requests: invoke the producer and the consumers, and for mails pass on SES's delivery events."""
    assert stack.produce() == []
    for channel in ROUTES[topic].channels:
        while records := stack.receive(channel, QUEUES[channel].size):
            assert stack.consume(channel, records) == []
        if channel is Channel.EMAIL:
            for request_id in request_ids:
                feedback(stack, "delivery", request_id)


@cache
def spent(topic: Topic, together: int, description: str = DESCRIPTION) -> Mapping[str, Spent]:
    """The usage of each function for `together` requests: accepted at once, delivered, checked by the reconciler."""
    with running() as (stack, slack, clock):
        before = len(slack.messages)
        with metered_on(stack) as found:
            request_ids = [stack.post(topic, description) for _ in range(together)]
            deliver(stack, topic, request_ids)
        with metered_on(stack) as sweeps:
            for seconds in (LATER, SECOND_CHECK_AFTER.total_seconds()):
                clock.shift(seconds)
                assert stack.reconcile()["ledger"]["open"] == 0
        assert {stack.status(request_id) for request_id in request_ids} == {"delivered"}
        posts = len(slack.messages) - before
    found = defaultdict(Spent, found)
    found["reconciler"] = ledger = sweeps["reconciler"] - idle() - idle()
    # The reconciler queries the index once or twice for any number of requests, so this is not the usage of a request.
    ledger.reads -= ledger.calls.pop("dynamodb.Query") / 2
    found["api"].invocations = together
    found["stream_producer"].invocations = 1
    for channel in ROUTES[topic].channels:
        found[f"{channel}_consumer"].invocations = ceil(together / QUEUES[channel].size)
    if Channel.EMAIL in ROUTES[topic].channels:
        found["email_feedback"].invocations = together
    if posts:
        found["slack_consumer"].calls["slack.chat.postMessage"] = posts
    return found


@cache
def idle() -> Spent:
    """The usage of a reconciler run that finds no unpublished entry and no new request."""
    with running() as (stack, _, clock):
        clock.shift(LATER)
        with metered_on(stack) as found:
            stack.reconcile()
    return found["reconciler"]


@cache
def sweep(together: int) -> Spent:
    """The usage of a reconciler run that publishes `together` requests, which the stream producer did not publish."""
    with running() as (stack, _, clock):
        for _ in range(together):
            stack.post(Topic.SALES, DESCRIPTION)
        clock.shift(LATER)
        with metered_on(stack) as found:
            assert stack.reconcile()["outbox"]["published"] == together
    return found["reconciler"]


@cache
def polled() -> Spent:
    """The usage of a status call for a delivered request."""
    with running() as (stack, _, _):
        request_id = stack.post(Topic.SALES, DESCRIPTION)
        deliver(stack, Topic.SALES, [request_id])
        with metered_on(stack) as found:
            assert stack.status(request_id) == "delivered"
    found["api"].invocations = 1
    return found["api"]
