"""Tests escalation: a request that nobody takes in time is sent to its fallback once, a taken one never."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import time_machine

from assistance.engine import takes
from assistance.platform.clock import utc_now
from assistance.routing import Channel, routes
from assistance.store.requests import Requests
from assistance.store.schema import DUE_AT, DUE_SHARD, DUE_SHARDS
from assistance.store.table import Items
from local.slack_server import SlackServer
from reconciler.run import Open, Run
from reconciler.untaken import escalate
from tests.integration.cloud import Cloud, forget
from tests.integration.steps import arrived, emails
from tests.records import item_of, record_of

HALF_AN_HOUR = timedelta(minutes=31)


@pytest.fixture(autouse=True)
def escalating(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Deploys routes: `sales` escalates after 30 minutes, `alone` would but has no fallback, `patient` never does."""
    route = {"channels": ["slack"], "fallback": "email", "escalate_after": 30}
    alone = {"channels": ["slack"], "fallback": None, "escalate_after": 30}
    patient = {"channels": ["slack"], "fallback": "email"}
    monkeypatch.setenv("ROUTES", json.dumps({"sales": route, "alone": alone, "patient": patient}))
    monkeypatch.setenv("TAKE", "true")
    forget()
    yield
    monkeypatch.delenv("ROUTES")
    monkeypatch.delenv("TAKE")
    routes.cache_clear()
    forget()


def settle(stack: Cloud) -> None:
    stack.produce()
    for channel in Channel:
        stack.consume_until_quiet(channel)


def requests(stack: Cloud) -> Requests:
    return Requests(Items(stack.table))


def untaken(stack: Cloud, later: timedelta = HALF_AN_HOUR) -> list[str]:
    found: list[str] = stack.reconcile(later)["ledger"]["untaken"]
    settle(stack)
    return found


def test_a_request_that_nobody_takes_in_time_is_sent_to_the_fallback_once(stack: Cloud, slack: SlackServer) -> None:
    request_id = stack.post("sales", "is anybody there")
    settle(stack)
    assert untaken(stack, timedelta(minutes=29)) == []
    assert untaken(stack) == [request_id]
    assert untaken(stack) == []
    [mail] = emails()
    assert "Sent here because nobody is handling it, and the time to take it (30 minutes) is over." in str(mail)
    assert arrived(slack, "is anybody there") == 2, "on Slack and by email, once each"
    shown = stack.show(request_id)
    assert shown["status"] == "delivered"
    assert [(each["channel"], each.get("escalation")) for each in shown["deliveries"]] == [
        ("slack", None),
        ("email", True),
    ]
    assert DUE_SHARD not in item_of(stack.table, request_id)


def test_a_request_taken_in_time_is_not_escalated(stack: Cloud) -> None:
    request_id = stack.post("sales")
    settle(stack)
    takes.take(requests(stack), request_id, "t1", by="Anna", via="slack")
    assert untaken(stack) == []
    assert emails() == []


def test_an_escalation_is_not_sent_if_the_request_is_taken_before_the_send(stack: Cloud) -> None:
    request_id = stack.post("sales")
    settle(stack)
    stack.reconcile(HALF_AN_HOUR)
    stack.produce()
    takes.take(requests(stack), request_id, "t1", by="Anna", via="slack")
    settle(stack)
    assert emails() == []
    assert stack.reconcile(2 * HALF_AN_HOUR)["ledger"]["lost"] == []
    takes.release(requests(stack), request_id, "t1", by="Anna", via="slack")
    settle(stack)
    assert len(emails()) == 1


def test_a_request_without_a_fallback_that_nobody_takes_in_time_is_counted_once_and_not_sent(stack: Cloud) -> None:
    request_id = stack.post("alone")
    settle(stack)
    assert untaken(stack) == [request_id]
    assert untaken(stack) == []
    assert len(stack.show(request_id)["deliveries"]) == 1


def test_a_dry_run_counts_an_untaken_request_once_although_it_is_in_two_lists_of_the_reconciler(stack: Cloud) -> None:
    request_id = stack.post("sales")
    settle(stack)
    record = requests(stack).read(request_id).record
    later = utc_now() + HALF_AN_HOUR
    run = Run(requests(stack), stack.sqs, {}, timedelta(), lambda: 60_000, dry_run=True, clock=lambda: later)
    escalate(run, [Open(request_id, record)])
    assert run.report.untaken == [request_id]


def test_a_dry_run_of_the_reconciler_escalates_no_request_and_logs_nothing(
    stack: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = stack.post("sales")
    settle(stack)
    capsys.readouterr()
    assert stack.reconcile(HALF_AN_HOUR, dry_run=True)["ledger"]["untaken"] == [request_id]
    assert "nobody has taken it in time" not in capsys.readouterr().out
    settle(stack)
    assert emails() == []


def test_a_request_keeps_the_status_delivered_if_the_fallback_channel_refuses_its_escalation(stack: Cloud) -> None:
    request_id = stack.post("sales")
    settle(stack)
    stack.reconcile(HALF_AN_HOUR)
    stack.produce()
    [message] = stack.receive(Channel.EMAIL)
    with time_machine.travel(utc_now() + HALF_AN_HOUR):
        stack.sqs.send_message(QueueUrl=stack.dlqs[Channel.EMAIL], MessageBody=message["body"])
    stack.sqs.delete_message(QueueUrl=stack.queues[Channel.EMAIL], ReceiptHandle=message["receiptHandle"])
    assert stack.reconcile(HALF_AN_HOUR)["ledger"]["dead_lettered"] == [request_id]
    assert stack.status(request_id) == "delivered"
    stack.redrive(Channel.EMAIL)
    settle(stack)
    assert len(emails()) == 1


def test_a_delivered_request_stays_in_the_due_index_only_if_its_route_has_a_time_limit_for_taking(stack: Cloud) -> None:
    sales, patient = stack.post("sales"), stack.post("patient")
    settle(stack)
    created = record_of(stack.table, sales).created_at
    item = item_of(stack.table, sales)
    assert item[DUE_AT] == created + 30 * 60_000
    assert item[DUE_SHARD] >= DUE_SHARDS, "a sweep reads of these only what is due"
    assert DUE_SHARD not in item_of(stack.table, patient)
    assert [item_of(stack.table, each)["version"] for each in (sales, patient)] == [2, 2], "a claim and its end"


def test_a_request_whose_time_ended_while_takes_were_off_is_escalated_once_they_are_on_again(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = stack.post("sales")
    settle(stack)
    monkeypatch.setenv("TAKE", "false")
    forget()
    assert untaken(stack) == []
    monkeypatch.setenv("TAKE", "true")
    forget()
    assert untaken(stack, timedelta(days=10)) == [request_id]
    assert len(emails()) == 1
