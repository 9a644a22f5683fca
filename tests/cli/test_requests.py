"""Tests `assistance resend`, `status`, `ledger` and `reconcile`."""

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from assistance.domain.record import Attempt, Outcome
from assistance.platform.clock import ms_of, timestamp, utc_now
from assistance.routing import Channel
from assistance.store.items import Item
from assistance.store.mirror import DELIVERY_PREFIX
from assistance.store.requests import request_key
from assistance.store.schema import FALLBACK_CHANNEL
from assistance.store.table import Items
from cli import id_prefixes, ledger
from cli.stack import Stack
from tests.cli.steps import Operator
from tests.integration.cloud import forget
from tests.integration.steps import feedback, mailed
from tests.records import item_of, put_delivery

SLACK = Channel.SLACK
_A_MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def reconciler(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls the real reconciler directly when the command invokes the function."""

    def invoke(_: Stack, *, dry_run: bool) -> dict[str, Any]:
        with redirect_stdout(io.StringIO()):
            answer: dict[str, Any] = json.loads(json.dumps(operator.cloud.reconcile(dry_run=dry_run)))
        return answer

    monkeypatch.setattr(Stack, "reconcile", invoke)


def delivered(operator: Operator, description: str) -> str:
    request_id = operator.cloud.post("sales", description)
    operator.cloud.produce()
    operator.deliver()
    return request_id


def resent(operator: Operator, description: str) -> str:
    """Create a delivered request with a resend whose message is in the channel's queue."""
    request_id = delivered(operator, description)
    assert operator.run("resend", request_id, "--channel", "slack", "--yes").exit_code == 0
    operator.cloud.produce()
    return request_id


def test_each_resend_sends_one_message_and_is_listed_as_a_separate_delivery(operator: Operator) -> None:
    request_id = delivered(operator, "again")
    acts: list[str] = []
    for decisions in (1, 2):
        result = operator.run("resend", request_id, "--channel", "slack", "--yes")
        assert (result.exit_code, "is in the outbox" in result.stdout) == (0, True)
        operator.cloud.produce()
        records = operator.cloud.receive(SLACK)
        for record in (*records, *records):
            operator.cloud.consume(SLACK, [record])
        assert operator.posted("again") == 1 + decisions
        audit = json.loads(result.stderr)
        acts.append(audit["act"])
        assert audit["act"] in result.stdout
        assert (audit["message"], audit["request_id"], audit["channel"]) == ("resend", request_id, "slack")
        assert audit["operator"].startswith("arn:aws:")
        assert "again" not in result.stderr
    deliveries = operator.json("status", request_id)["deliveries"]
    assert [(each["status"], each["resend"], each["attempts"]) for each in deliveries] == [
        ("delivered", None, 1),
        *(("delivered", act, 1) for act in acts),
    ]
    shown = operator.run("status", request_id).stdout
    assert all(act in shown for act in acts)
    assert "slack: delivered, slack resend: delivered, slack resend: delivered" in operator.run("list").stdout


@pytest.mark.parametrize("raced", [False, True])
def test_a_request_without_a_final_status_cannot_be_resent(
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    raced: bool,  # noqa: FBT001
) -> None:
    """`raced`: the request was final when the operator was asked for confirmation, and no longer is."""
    request_id = operator.cloud.post("sales", "once")
    if raced:
        monkeypatch.setattr("cli.commands.requests.is_pending", lambda *_: False)
    result = operator.run("resend", request_id, "--channel", "slack", "--yes")
    assert result.exit_code == 1
    assert f"request {request_id} is still on its way by slack, so nothing was resent" in result.stderr
    assert f"'assistance --stack assistance-dev watch {request_id}'" in result.stderr
    assert ("operator" in result.stderr) == raced
    operator.cloud.produce()
    operator.deliver()
    assert operator.posted("once") == 1


def test_a_resend_can_use_a_channel_that_is_not_in_the_route_of_the_request(operator: Operator) -> None:
    request_id = delivered(operator, "by both")
    answer = operator.json("resend", request_id, "--channel", "email", "--yes")
    assert (answer["request_id"], answer["channel"]) == (request_id, "email")
    operator.cloud.produce()
    operator.deliver(Channel.EMAIL)
    deliveries = operator.json("status", request_id)["deliveries"]
    assert [(each["channel"], each["resend"]) for each in deliveries] == [("slack", None), ("email", answer["act"])]


def test_the_resend_command_needs_confirmation(operator: Operator) -> None:
    request_id = delivered(operator, "once")
    assert operator.run("resend", request_id, "--channel", "slack").exit_code == 1
    operator.cloud.produce()
    operator.deliver()
    assert operator.posted("once") == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_redrive_of_a_resends_dead_letter_sends_one_message(operator: Operator, killed: bool) -> None:  # noqa: FBT001
    request_id = resent(operator, "twice in all")
    operator.slack.fail("error", error="is_archived")
    operator.deliver()
    operator.slack.fail("none")
    act = operator.json("status", request_id)["deliveries"][-1]["resend"]
    assert [letter["resend"] for letter in operator.json("dead-letters", "list")] == [act]
    if killed:
        operator.run_and_kill("before-call.sqs.DeleteMessageBatch", "dead-letters", "redrive", request_id)
    assert operator.run("dead-letters", "redrive", request_id).exit_code == 0
    operator.deliver()
    assert operator.posted("twice in all") == 2
    assert operator.cloud.status(request_id) == "delivered"


def test_a_redrive_of_a_resend_with_unknown_outcome_searches_slacks_history_before_it_posts(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRY_ATTEMPTS", "1")
    forget()
    request_id = resent(operator, "twice in all")
    operator.slack.fail("drop", times=1)
    operator.deliver()
    assert operator.posted("twice in all") == 2
    assert operator.run("dead-letters", "redrive", request_id).exit_code == 0
    operator.deliver()
    assert operator.posted("twice in all") == 2


def test_redriving_two_dead_letters_of_one_resend_sends_one_message(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer killed after it wrote the dead letter and before it recorded that leads to a second dead letter."""
    monkeypatch.setenv("RETRY_ATTEMPTS", "1")
    forget()
    resent(operator, "twice in all")
    operator.slack.fail("error", error="is_archived", times=1)
    operator.deliver()
    [letter] = operator.cloud.dead_letters(SLACK)
    operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[SLACK], MessageBody=letter["Body"])
    assert operator.run("dead-letters", "redrive", "--all", "--yes").exit_code == 0
    operator.deliver()
    assert operator.posted("twice in all") == 2


def test_a_resend_on_a_channel_that_is_not_deployed_is_refused(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = delivered(operator, "by slack")
    monkeypatch.delitem(operator.outputs, "TeamsQueueUrl")
    result = operator.run("resend", request_id, "--channel", "teams", "--yes")
    assert result.exit_code == 1
    assert result.stderr == "Error: the stack assistance-dev has no channel teams: it has slack, email.\n"


@pytest.mark.parametrize("command", [("status",), ("resend", "--channel", "slack", "--yes")])
@pytest.mark.parametrize("wrong", ["nonsense", "019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f"])
def test_an_unknown_request_id_is_reported_as_a_one_line_error(
    operator: Operator, command: tuple[str, ...], wrong: str
) -> None:
    result = operator.run(*command, wrong)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert wrong in result.stderr


def test_the_logs_command_with_an_empty_request_id_is_refused_and_shows_no_lines(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "functions", lambda _: {"api": "api"})
    result = operator.run("logs", "--request", "")
    assert result.exit_code == 1
    assert "is not a request's id" in " ".join(result.output.split())


def test_a_command_finds_a_request_by_the_prefix_of_the_request_id(operator: Operator) -> None:
    drawn, keyed = operator.cloud.post("sales", "one"), operator.cloud.post("sales", "two", Idempotency_Key="k")
    for request_id in (drawn, keyed):
        assert operator.json("status", request_id[:8].upper())["id"] == request_id
        assert operator.json("take", request_id[:13], "--as", "Anna")["by"] == "Anna"


def test_a_command_with_an_ambiguous_prefix_of_an_id_lists_the_matching_ids_and_chooses_none(
    operator: Operator,
) -> None:
    requests = [operator.cloud.post("sales", f"number {number}") for number in range(2)]
    assert requests[0][:8] == requests[1][:8], "drawn within a minute"
    result = operator.run("release", requests[0][:8])
    assert (result.exit_code, result.stdout) == (1, "")
    assert all(request_id in result.stderr for request_id in requests)


def test_a_command_with_an_unknown_prefix_of_an_id_is_refused_and_names_the_period_searched(
    operator: Operator,
) -> None:
    drawn, keyed = operator.cloud.post("sales"), operator.cloud.post("sales", Idempotency_Key="k")
    with time_machine.travel(utc_now() + timedelta(days=8), tick=True):
        assert operator.json("status", drawn[:8])["id"] == drawn
        refused = operator.run("status", keyed[:8])
        assert (refused.exit_code, "of the last 7 days" in refused.stderr) == (1, True)
        assert operator.json("status", keyed)["id"] == keyed
    assert "its first 8 characters" in operator.run("status", keyed[:7]).stderr


def test_a_prefix_of_an_id_is_searched_among_the_newest_requests_and_the_error_says_if_not_all_were_searched(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(id_prefixes, "MAX_SEARCHED", 2)
    first, *_, newest = [operator.cloud.post("sales", Idempotency_Key=f"k{number}") for number in range(4)]
    assert operator.json("status", newest[:8])["id"] == newest
    refused = operator.run("status", first[:8])
    assert (refused.exit_code, "of the newest 2 requests" in refused.stderr) == (1, True)
    assert "of the last 7 days" not in refused.stderr


TERMINAL = "\x1b]0;mine\x07\x9b31m\u202e\u2028\r"


def test_control_characters_in_stored_text_do_not_reach_the_terminal(operator: Operator) -> None:
    request_id = operator.create_dead_letter(description=f"a{TERMINAL}b")
    at = "2026-01-31T09:30:00.000Z"
    failed = Attempt(f"attempt{TERMINAL}", ms_of(at), Outcome.FAILED, error=TERMINAL)
    put_delivery(operator.cloud.table, request_id, SLACK, attempts=(failed,))
    for command in (
        ("status", request_id, "--with-description"),
        ("list",),
        ("watch", request_id),
        ("dead-letters", "show", request_id, "--with-description"),
        ("dead-letters", "list"),
    ):
        shown = operator.run(*command)
        assert "failed" in shown.output or "sales" in shown.output
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", shown.output), command


@pytest.mark.parametrize("hostile", [5, "\x1b[2J\u202e", None])
def test_the_list_command_omits_an_unreadable_request_and_names_it_in_one_line(
    operator: Operator, hostile: object
) -> None:
    sound, damaged = operator.cloud.post("sales"), operator.cloud.post("sales")
    item = operator.cloud.table.get_item(Key=request_key(damaged))["Item"]
    operator.cloud.table.put_item(Item=item | {"topic": hostile})
    listed, shown = operator.run("list"), operator.run("status", damaged)
    assert listed.exit_code == 0
    assert sound in listed.stdout
    assert damaged not in listed.stdout
    assert listed.stderr.startswith(f"Left out a request that can't be read: {damaged}: topic: string_")
    assert (shown.exit_code, shown.stdout, shown.stderr.count("\n")) == (1, "", 1)
    assert damaged in shown.stderr


@pytest.mark.parametrize(("command", "exit_code"), [("list", 0), ("ledger", 0), ("status", 1)])
def test_a_delivery_record_of_an_earlier_request_with_the_same_id_is_reported_as_a_one_line_error(
    operator: Operator, command: str, exit_code: int
) -> None:
    sound, damaged = operator.cloud.post("sales"), delivered(operator, "damaged")
    item = item_of(operator.cloud.table, damaged)
    item["record"]["created_at"] += 1
    operator.cloud.table.put_item(Item=item)
    shown = operator.run(command, *([damaged] if command == "status" else []))
    assert (shown.exit_code, f"{damaged}: record: of another request" in shown.output) == (exit_code, True)
    assert command != "list" or sound in shown.stdout


def test_the_ledger_command_states_an_outcome_for_every_request_of_the_period(operator: Operator) -> None:
    with time_machine.travel(utc_now() - timedelta(days=2), tick=True):
        old = delivered(operator, "long ago")
    delivered(operator, "first")
    operator.slack.fail("error", error="is_archived")
    delivered(operator, "falls back")
    operator.slack.fail("none")
    on_its_way, _ = operator.cloud.post("pricing"), delivered(operator, "second")
    shown = operator.json("ledger")
    assert shown["accepted"] == {"sales": 3, "pricing": 1}
    assert shown["ended"] == {"sales/delivered": 2}
    assert shown["deliveries"] == {
        "sales/slack/delivered": 2,
        "sales/slack/failed": 1,
        "sales/email/open": 1,
        "pricing/email/open": 1,
    }
    assert on_its_way in shown["open"]
    assert len(shown["open"]) == 2
    assert (shown["unaccounted"], shown["unreadable"]) == ([], [])
    assert shown["dry_run"]["dry_run"] is True
    assert "missing (no longer in the table)    0" in operator.run("ledger").stdout
    assert operator.json("ledger", "--since", "3d")["accepted"] == {"sales": 4, "pricing": 1}
    assert old not in operator.json("ledger", "--since", "3d")["open"]


def test_the_ledger_command_counts_a_resend_as_another_delivery_and_the_request_once(operator: Operator) -> None:
    resent(operator, "again")
    shown = operator.json("ledger")
    assert (shown["ended"], shown["open"]) == ({"sales/delivered": 1}, {})
    assert shown["deliveries"] == {"sales/slack/delivered": 1, "sales/slack/open": 1}
    operator.deliver()
    assert operator.json("ledger")["deliveries"] == {"sales/slack/delivered": 2}


def test_the_ledger_command_counts_a_redriven_request_as_open(operator: Operator) -> None:
    request_id = mailed(operator.cloud)
    assert operator.json("ledger")["open"] == {}
    feedback(operator.cloud, "bounce", request_id)
    assert list(operator.json("ledger")["open"]) == [request_id]


def test_the_ledger_command_names_requests_that_are_missing_from_the_table_or_unreadable(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, damaged, hostile = (operator.cloud.post("sales") for _ in range(3))
    table = operator.cloud.table
    for request_id, wrong in ((damaged, {"channels": 5}), (hostile, {"topic": TERMINAL})):
        table.put_item(Item=table.get_item(Key=request_key(request_id))["Item"] | wrong)
    monkeypatch.setattr(Items, "of", _without(gone))
    shown, result = operator.json("ledger"), operator.run("ledger")
    assert shown["accepted"] == {"sales": 2, "unreadable": 1}
    assert (shown["ended"], shown["open"], shown["unaccounted"]) == ({}, {}, [gone])
    assert [why.partition(":")[0] for why in sorted(shown["unreadable"])] == sorted([damaged, hostile])
    assert all(request_id in result.stderr for request_id in (gone, damaged, hostile))
    assert "\x1b" not in result.output


def _without(gone: str) -> Callable[[Items, str], list[Item]]:
    """Replaces `Items.of`: the request `gone` has no items any more, although the index still lists it."""
    of = Items.of
    return lambda items, request_id: [] if request_id == gone else of(items, request_id)


def test_the_ledger_command_ignores_the_delivery_record_of_an_earlier_request_with_the_same_id(
    operator: Operator,
) -> None:
    request_id = delivered(operator, "later")
    item = item_of(operator.cloud.table, request_id)
    item["record"]["created_at"] -= 1
    operator.cloud.table.put_item(Item=item)
    assert list(operator.json("ledger")["open"]) == [request_id]


def test_the_ledger_command_counts_all_requests_although_one_query_does_not_return_all_of_them(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "BATCH", 2)
    monkeypatch.setattr(ledger, "_PARALLEL", 2)
    for number in range(9):
        operator.cloud.post("sales", f"number {number}")
    operator.cloud.produce()
    operator.deliver()
    operator.cloud.post("pricing")
    shown = operator.json("ledger")
    assert (shown["accepted"], shown["ended"]) == ({"sales": 9, "pricing": 1}, {"sales/delivered": 9})
    assert len(shown["open"]) == 1


def test_the_ledger_command_counts_what_version_1_delivered_after_a_rollback(operator: Operator) -> None:
    """Version 1 accepted the request, this version tried once, and after a rollback version 1 delivered it."""
    request_id, at = operator.cloud.post("sales"), timestamp(utc_now())
    put_delivery(operator.cloud.table, request_id, SLACK, attempts=(Attempt("1", ms_of(at), Outcome.RETRYING),))
    table = operator.cloud.table
    request = table.get_item(Key=request_key(request_id))["Item"]
    table.put_item(Item={name: value for name, value in request.items() if name != FALLBACK_CHANNEL})
    timeline = [{"at": at, "outcome": "retrying"}, {"at": at, "outcome": "delivered"}]
    about = {"ttl": request["ttl"], "status": "delivered", "delivered_at": at, "timeline": timeline}
    table.put_item(Item={"pk": request_id, "sk": f"{DELIVERY_PREFIX}slack", **about})
    assert operator.json("status", request_id)["status"] == "delivered"
    balance = operator.json("ledger")
    assert (balance["ended"], balance["open"]) == ({"sales/delivered": 1}, {})


def test_the_ledger_command_only_reads(operator: Operator) -> None:
    request_id = operator.cloud.post("sales")
    with time_machine.travel(utc_now(), tick=False):
        assert operator.json("ledger") == operator.json("ledger")
    assert operator.json("reconcile", "--dry-run")["dry_run"] is True
    assert operator.cloud.status(request_id) == "accepted"


def test_the_reconcile_command_reports_the_changes_that_it_made(operator: Operator) -> None:
    assert operator.json("reconcile")["dry_run"] is False
    dry, swept = operator.run("reconcile", "--dry-run").stdout, operator.run("reconcile").stdout
    assert ("entries it would publish" in dry, "it would publish again" in dry) == (True, True)
    assert ("entries published" in swept, "published again" in swept, "would" in swept) == (True, True, False)


def test_customer_data_is_shown_only_with_the_command_line_option_with_description(operator: Operator) -> None:
    call = {
        "topic": "sales",
        "description": "A quote, please",
        "customer": {"name": f"Anna{TERMINAL}", "email": "anna@example.com\nstatus        delivered"},
        "conversation_url": "https://chat.example.com/c/42",
        "reference": "conversation-42",
        "details": {"Plan": "Pro"},
    }
    answer = operator.cloud.call("POST", "/assistance-requests", json.dumps(call), content_type="application/json")
    request_id = answer["json"]["id"]
    personal = ("A quote, please", "Anna", "anna@example.com", "https://chat.example.com/c/42", "Pro")
    for as_json in ((), ("--json",)):
        plain = operator.run("status", request_id, *as_json)
        asked = operator.run("status", request_id, "--with-description", *as_json)
        assert "conversation-42" in plain.stdout
        assert not [text for text in personal if text in plain.stdout]
        assert [text for text in personal if text in asked.stdout] == [*personal]
    assert "\nstatus        delivered" not in operator.run("status", request_id, "--with-description").stdout
