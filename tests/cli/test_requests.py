"""What `assistance resend`, `status`, `ledger` and `reconcile` guarantee."""

import io
import json
import re
from contextlib import redirect_stdout
from datetime import timedelta
from typing import Any

import pytest

from assistance.deliveries import delivery_key, request_key
from assistance.routing import Channel
from cli.stack import Stack
from tests.cli.steps import Operator
from tests.integration.cloud import forget
from tests.integration.steps import feedback, mailed

SLACK = Channel.SLACK
_A_MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def reconciler(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, called without Lambda in between."""

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


def test_a_resend_is_sent_once_per_decision_and_on_record(operator: Operator) -> None:
    request_id = delivered(operator, "again")
    for decisions in (1, 2):
        result = operator.run("resend", request_id, "--channel", "slack", "--yes")
        assert result.exit_code == 0
        records = operator.cloud.receive(SLACK)
        for record in (*records, *records):
            operator.cloud.consume(SLACK, [record])
        assert operator.posted("again") == 1 + decisions
        audit = json.loads(result.stderr)
        assert audit["act"] in result.stdout
        assert (audit["request_id"], audit["channel"]) == (request_id, "slack")
        assert audit["operator"].startswith("arn:aws:")
        assert "again" not in result.stderr
    (delivery,) = operator.json("status", request_id)["deliveries"]
    assert [attempt["forced"] for attempt in delivery["timeline"]] == [False, True, True]


def test_a_resend_needs_confirmation(operator: Operator) -> None:
    request_id = delivered(operator, "once")
    assert operator.run("resend", request_id, "--channel", "slack").exit_code == 1
    operator.deliver()
    assert operator.posted("once") == 1


@pytest.mark.parametrize("killed", [False, True])
def test_a_forced_send_that_died_is_redriven_and_sent_once(operator: Operator, killed: bool) -> None:  # noqa: FBT001
    request_id = delivered(operator, "twice in all")
    operator.run("resend", request_id, "--channel", "slack", "--yes")
    operator.slack.fail("error", error="is_archived")
    operator.deliver()
    operator.slack.fail("none")
    assert [letter["forced"] for letter in operator.json("dead-letters", "list")] == [True]
    if killed:
        operator.killed("before-call.sqs.DeleteMessageBatch", "dead-letters", "redrive", request_id)
    assert operator.run("dead-letters", "redrive", request_id).exit_code == 0
    operator.deliver()
    assert operator.posted("twice in all") == 2
    assert operator.cloud.status(request_id) == "delivered"


def test_a_redrive_of_a_forced_send_in_doubt_looks_before_it_posts(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRY_ATTEMPTS", "1")
    forget()
    request_id = delivered(operator, "twice in all")
    operator.run("resend", request_id, "--channel", "slack", "--yes")
    operator.slack.fail("drop", times=1)
    operator.deliver()
    assert operator.posted("twice in all") == 2
    assert operator.run("dead-letters", "redrive", request_id).exit_code == 0
    operator.deliver()
    assert operator.posted("twice in all") == 2


def test_two_letters_of_one_forced_send_are_sent_once(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that dies between its letter and its write leaves another."""
    monkeypatch.setenv("RETRY_ATTEMPTS", "1")
    forget()
    request_id = delivered(operator, "twice in all")
    operator.run("resend", request_id, "--channel", "slack", "--yes")
    operator.slack.fail("error", error="is_archived", times=1)
    operator.deliver()
    [letter] = operator.cloud.dead_letters(SLACK)
    operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[SLACK], MessageBody=letter["Body"])
    assert operator.run("dead-letters", "redrive", "--all", "--yes").exit_code == 0
    operator.deliver()
    assert operator.posted("twice in all") == 2


def test_what_a_channel_that_is_not_there_should_send_is_not_on_record(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = delivered(operator, "by slack")
    monkeypatch.delitem(operator.outputs, "TeamsQueueUrl")
    result = operator.run("resend", request_id, "--channel", "teams", "--yes")
    assert result.exit_code == 1
    assert result.stderr == "Error: the stack assistance-dev has no channel teams: it has slack, email.\n"


@pytest.mark.parametrize("command", [("status",), ("resend", "--channel", "slack", "--yes")])
@pytest.mark.parametrize("wrong", ["nonsense", "019a7c1e-5b0c-7d34-9c1f-0a2b3c4d5e6f"])
def test_an_id_that_names_no_request_is_one_line(operator: Operator, command: tuple[str, ...], wrong: str) -> None:
    result = operator.run(*command, wrong)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert wrong in result.stderr


TERMINAL = "\x1b]0;mine\x07\x9b31m\u202e\u2028\r"


def test_stored_text_never_controls_the_terminal(operator: Operator) -> None:
    request_id = operator.dead(description=f"a{TERMINAL}b")
    at = "2026-01-31T09:30:00.000Z"
    said = {"status": "failed", "failed_at": at, "last_error": TERMINAL, "ttl": 2**40}
    timeline = [{"at": at, "outcome": f"failed{TERMINAL}", "error": TERMINAL}]
    operator.cloud.table.put_item(Item={**delivery_key(request_id, SLACK), **said, "timeline": timeline})
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
def test_what_cannot_be_read_is_left_out_of_a_list_and_told_of_in_one_line(operator: Operator, hostile: object) -> None:
    sound, damaged = operator.cloud.post("sales"), operator.cloud.post("sales")
    item = operator.cloud.table.get_item(Key=request_key(damaged))["Item"]
    operator.cloud.table.put_item(Item=item | {"topic": hostile})
    listed, shown = operator.run("list"), operator.run("status", damaged)
    assert listed.exit_code == 0
    assert sound in listed.stdout
    assert damaged not in listed.stdout
    assert listed.stderr.startswith(f"Left out, as it can't be read: {damaged}: topic: string_")
    assert (shown.exit_code, shown.stdout, shown.stderr.count("\n")) == (1, "", 1)
    assert damaged in shown.stderr


def test_the_ledger_accounts_for_every_request(operator: Operator) -> None:
    delivered(operator, "first")
    assert "No sweep has counted anything yet" in operator.run("ledger").stderr
    delivered(operator, "second")
    operator.cloud.reconcile(later=_A_MINUTE)
    delivered(operator, "since then")
    shown = operator.json("ledger")
    assert shown["accepted"] == {"sales": 2}
    assert (shown["ended"], shown["deliveries"]) == ({"sales/delivered": 2}, {"sales/slack/delivered": 2})
    assert (shown["open"], shown["unaccounted"]) == ({}, 0)
    assert "unaccounted for   0" in operator.run("ledger").stdout


def test_the_ledger_tells_of_what_is_on_its_way_again(operator: Operator) -> None:
    request_id = mailed(operator.cloud)
    operator.cloud.reconcile(later=_A_MINUTE)
    feedback(operator.cloud, "bounce", request_id)
    assert list(operator.json("ledger")["reopened"]) == [request_id]
    assert "of these, on their way again   1" in operator.run("ledger").stdout
    assert operator.json("ledger")["unaccounted"] == 0


def test_looking_at_the_ledger_changes_nothing(operator: Operator) -> None:
    request_id = operator.cloud.post("sales")
    assert operator.json("ledger") == operator.json("ledger")
    assert operator.json("reconcile", "--dry-run")["dry_run"] is True
    assert operator.cloud.status(request_id) == "accepted"


def test_a_reconcile_reports_what_it_has_done(operator: Operator) -> None:
    assert operator.json("reconcile")["dry_run"] is False
    assert "would" in operator.run("reconcile", "--dry-run").stdout
    assert "would" not in operator.run("reconcile").stdout
