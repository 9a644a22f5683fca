"""Tests `assistance dead-letters`."""

import json
from datetime import timedelta
from inspect import signature
from types import SimpleNamespace

import pytest
import time_machine
from botocore.model import OperationModel

from assistance.engine import dead_letters
from assistance.platform.clock import utc_now
from assistance.routing import Channel
from cli import dead_letter_queues
from cli.app import app
from cli.dead_letters import app as group_app
from tests.cli.steps import Operator

SLACK = Channel.SLACK


def ids(operator: Operator) -> list[str]:
    return [letter["id"] for letter in operator.json("dead-letters", "list")]


def test_the_list_command_says_that_there_are_no_dead_letters(operator: Operator) -> None:
    result = operator.run("dead-letters", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "There are no dead letters.\n")
    assert operator.json("dead-letters", "list") == []


def test_the_list_command_neither_deletes_dead_letters_nor_leaves_them_invisible(operator: Operator) -> None:
    requests = [operator.create_dead_letter(), operator.create_dead_letter()]
    first, second = operator.json("dead-letters", "list"), operator.json("dead-letters", "list")
    assert first == second
    assert [letter["reached_by"] for letter in first] == [[], []]
    assert [letter["request_id"] for letter in first] == requests
    assert {(letter["topic"], letter["channel"], letter["kind"], letter["reason"]) for letter in first} == {
        ("sales", "slack", "delivery", "dead_lettered")
    }
    depth = dead_letters.depth(operator.cloud.sqs, operator.cloud.dlqs[SLACK])
    assert (depth.waiting, depth.in_flight) == (2, 0)
    table = operator.run("dead-letters", "list", "--channel", "slack").stdout
    assert all(request_id in table for request_id in requests)
    assert "\x1b" not in table
    assert operator.json("dead-letters", "list", "--channel", "email") == []


def test_the_list_command_reports_the_number_of_dead_letters_that_another_reader_has_received(
    operator: Operator,
) -> None:
    operator.create_dead_letter()
    with dead_letters.reading(operator.cloud.sqs, operator.cloud.dlqs[SLACK]):
        result = operator.run("dead-letters", "list")
        assert "about 1" in result.stderr
        assert "no dead letters" not in result.stderr
    assert len(ids(operator)) == 1


@pytest.mark.parametrize("kind", ["delivery", "subscription"])
def test_a_redriven_request_is_delivered_and_its_dead_letter_is_deleted(operator: Operator, kind: str) -> None:
    cloud = operator.cloud
    request_id = cloud.post("sales", "call me")
    cloud.produce()
    operator.move_to_dlq(SLACK, (cloud.dlqs if kind == "delivery" else cloud.subscription_dlqs)[SLACK])
    assert [letter["kind"] for letter in operator.json("dead-letters", "list")] == [kind]
    result = operator.run("dead-letters", "redrive", request_id)
    assert (result.exit_code, result.stdout) == (0, "1 redriven, 0 skipped.\n")
    operator.deliver()
    assert cloud.status(request_id) == "delivered"
    assert operator.posted("call me") == 1
    assert ids(operator) == []


def test_a_dead_letter_in_an_sns_envelope_is_redriven_without_the_envelope(operator: Operator) -> None:
    cloud = operator.cloud
    request_id = cloud.post("sales", "enveloped")
    cloud.produce()
    (record,) = cloud.receive(SLACK)
    cloud.sqs.delete_message(QueueUrl=cloud.queues[SLACK], ReceiptHandle=record["receiptHandle"])
    envelope = json.dumps({"Type": "Notification", "Message": record["body"]})
    cloud.sqs.send_message(QueueUrl=cloud.subscription_dlqs[SLACK], MessageBody=envelope)
    assert operator.run("dead-letters", "redrive", "--all", "--yes").exit_code == 0
    operator.deliver()
    assert cloud.status(request_id) == "delivered"


def test_a_redrive_does_not_send_a_request_that_the_fallback_delivered(operator: Operator) -> None:
    cloud = operator.cloud
    operator.slack.fail("error", error="is_archived")
    request_id = cloud.post("sales", "by another way")
    cloud.produce()
    operator.deliver()
    cloud.produce()
    operator.deliver(Channel.EMAIL)
    operator.slack.fail("none")
    told = [(letter["reason"], letter["reached_by"]) for letter in operator.json("dead-letters", "list")]
    assert told == [("is_archived", ["email"])]
    assert operator.run("dead-letters", "redrive", request_id).exit_code == 0
    operator.deliver()
    assert operator.posted("by another way") == 0
    assert cloud.status(request_id) == "delivered"
    assert ids(operator) == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["SendMessageBatch", "DeleteMessageBatch", "ReceiveMessage"])
def test_a_redrive_killed_at_any_moment_loses_no_message_and_causes_no_second_delivery(
    operator: Operator, moment: str, call: str
) -> None:
    requests = [operator.create_dead_letter(description=f"number {number}") for number in range(3)]
    operator.run_and_kill(f"{moment}-call.sqs.{call}", "dead-letters", "redrive", "--all", "--yes")
    operator.deliver()
    operator.run("dead-letters", "redrive", "--all", "--yes")
    operator.deliver()
    assert [operator.cloud.status(request_id) for request_id in requests] == ["delivered"] * 3
    assert [operator.posted(f"number {number}") for number in range(3)] == [1, 1, 1]
    assert ids(operator) == []


def test_seven_long_dead_letters_are_redriven_although_one_call_of_sqs_does_not_take_them(operator: Operator) -> None:
    """The longest call of a bot becomes a message of 168 KB. A call of SQS takes 1 MiB."""
    cloud = operator.cloud
    details = {str(number): "\U0001f4ac" * 500 for number in range(20)}
    body = json.dumps({"topic": "sales", "description": "\U0001f4ac" * 4_000, "details": details}, ensure_ascii=False)
    for _ in range(7):
        assert cloud.call("POST", "/assistance-requests", body, Content_Type="application/json")["statusCode"] == 202
        cloud.produce()
        operator.move_to_dlq(SLACK, cloud.dlqs[SLACK])
    result = operator.run("dead-letters", "redrive", "--all", "--yes")
    assert (result.exit_code, result.stdout) == (0, "7 redriven, 0 skipped.\n")
    assert ids(operator) == []


def test_each_dead_letter_is_redriven_once_although_one_receive_call_does_not_return_all_of_them(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_queues, "MAX_HELD", 10)
    bodies = [json.dumps({"version": 1, "request": _request(number)}) for number in range(25)]
    for body in bodies:
        operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[SLACK], MessageBody=body)
    assert "25 redriven, 0 skipped." in operator.run("dead-letters", "redrive", "--all", "--yes").stdout
    queued = [record["body"] for _ in range(3) for record in operator.cloud.receive(SLACK)]
    assert sorted(queued) == sorted(bodies)
    assert ids(operator) == []


def _request(number: int) -> dict[str, str]:
    id_ = f"019a7c1e-5b0c-7d34-9c1f-{number:012}"
    return {"id": id_, "topic": "sales", "description": "help", "created_at": "2026-01-31T09:30:00.000Z"}


def test_a_redriven_dead_letter_is_deleted_only_after_sqs_has_confirmed_the_message_in_the_source_queue(
    operator: Operator,
) -> None:
    request_id = operator.create_dead_letter()

    def swallowed(**_: object) -> tuple[object, dict[str, object]]:
        return SimpleNamespace(status_code=200), {}

    operator.session.events.register("before-call.sqs.SendMessageBatch", swallowed)
    result = operator.run("dead-letters", "redrive", request_id)
    operator.session.events.unregister("before-call.sqs.SendMessageBatch", swallowed)
    assert (result.exit_code, result.stdout) == (1, "0 redriven, 1 skipped.\n")
    assert [letter["request_id"] for letter in operator.json("dead-letters", "list")] == [request_id]


@pytest.mark.parametrize("command", ["discard", "redrive"])
def test_a_dead_letter_that_another_reader_may_have_received_is_not_reported_as_deleted(
    operator: Operator, command: str
) -> None:
    request_id = operator.create_dead_letter()
    with time_machine.travel(utc_now(), tick=True) as traveller:

        def slow(**_: object) -> tuple[object, dict[str, object]]:
            traveller.shift(dead_letters.READ_SECONDS + 1)
            with dead_letters.reading(operator.cloud.sqs, operator.cloud.dlqs[SLACK]) as again:
                assert len(again) == 1
            # The response of SQS to an outdated receipt handle. The message is not deleted.
            return SimpleNamespace(status_code=200), {"Successful": [{"Id": "0"}]}

        operator.session.events.register("before-call.sqs.DeleteMessageBatch", slow)
        result = operator.run("dead-letters", command, request_id, *(["--yes"] if command == "discard" else []))
        operator.session.events.unregister("before-call.sqs.DeleteMessageBatch", slow)
        assert (result.exit_code, "not deleted for certain" in result.stderr) == (1, True)
        assert len(ids(operator)) == 1


def test_dead_letters_whose_visibility_timeout_has_expired_are_received_again_before_they_are_redriven(
    operator: Operator,
) -> None:
    for number in range(11):
        body = json.dumps({"version": 1, "request": _request(number)})
        operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[SLACK], MessageBody=body)
    with time_machine.travel(utc_now(), tick=True) as traveller:
        calls: list[str] = []

        def slow(model: OperationModel, **_: object) -> None:
            calls.append(model.name)
            if calls[-1] == "SendMessageBatch" and calls.count("SendMessageBatch") == 1:
                traveller.shift(dead_letters.READ_SECONDS + 1)

        operator.session.events.register("before-call.sqs.*", slow)
        result = operator.run("dead-letters", "redrive", "--all", "--yes")
        operator.session.events.unregister("before-call.sqs.*", slow)
        assert result.stdout == "1 redriven, 10 skipped.\n"
        first, second = (number for number, call in enumerate(calls) if call == "SendMessageBatch")
        assert "ReceiveMessage" in calls[first:second]


def test_a_redrive_skips_and_names_dead_letters_that_no_consumer_can_read(operator: Operator) -> None:
    good = operator.create_dead_letter()
    operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[SLACK], MessageBody="[red]no json")
    result = operator.run("dead-letters", "redrive", "--all", "--yes")
    assert (result.exit_code, result.stdout) == (1, "1 redriven, 1 skipped.\n")
    (left,) = operator.json("dead-letters", "list")
    assert left["id"] in result.stderr
    assert (left["readable"], left["request_id"]) == (False, None)
    operator.deliver()
    assert operator.cloud.status(good) == "delivered"
    assert operator.run("dead-letters", "show", left["id"]).exit_code == 0


def test_a_redrive_command_without_ids_or_the_option_all_is_refused_with_an_explanation(operator: Operator) -> None:
    operator.create_dead_letter()
    result = operator.run("dead-letters", "redrive")
    assert result.exit_code == 2
    assert "--all" in result.stderr
    assert len(ids(operator)) == 1


@pytest.mark.parametrize("command", [("discard", "--all"), ("redrive", "--all")])
def test_redriving_or_discarding_all_dead_letters_needs_confirmation(
    operator: Operator, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.create_dead_letter()
    result = operator.run("dead-letters", *command)
    assert result.exit_code == 1
    assert "--yes" in result.stderr
    assert len(ids(operator)) == 1
    monkeypatch.setattr("cli.options.at_a_terminal", lambda: True)
    assert operator.run("dead-letters", *command, terminal="n\n").exit_code == 1
    assert len(ids(operator)) == 1
    assert operator.run("dead-letters", *command, terminal="y\n").exit_code == 0
    assert ids(operator) == []


def test_discard_deletes_exactly_the_named_dead_letter(operator: Operator) -> None:
    operator.create_dead_letter()
    operator.create_dead_letter()
    first, second = ids(operator)
    assert operator.run("dead-letters", "discard", first[:8], "--yes").exit_code == 0
    assert ids(operator) == [second]


def test_a_dead_letter_can_be_named_by_the_prefix_of_the_request_id(operator: Operator) -> None:
    operator.create_dead_letter()
    request_id = operator.cloud.post("sales", Idempotency_Key="k")
    operator.cloud.produce()
    operator.move_to_dlq(SLACK, operator.cloud.dlqs[SLACK])
    shown = operator.json("dead-letters", "show", request_id[:8].upper())
    assert [each["request_id"] for each in shown["dead_letters"]] == [request_id]
    assert operator.json("dead-letters", "redrive", request_id[:8])["redriven"] == 1


def test_the_prefix_of_several_requests_ids_chooses_no_dead_letter(operator: Operator) -> None:
    requests = [operator.create_dead_letter() for _ in range(2)]
    assert requests[0][:8] == requests[1][:8], "drawn within a minute"
    result = operator.run("dead-letters", "redrive", requests[0][:8])
    assert (result.exit_code, "begin with" in result.stderr) == (1, True)
    assert len(operator.json("dead-letters", "list")) == 2


def test_an_unknown_dead_letter_id_stops_the_command_before_it_changes_any_dead_letter(operator: Operator) -> None:
    request_id = operator.create_dead_letter()
    (letter,) = ids(operator)
    for wrong in ("nonsense", letter[:7]):
        result = operator.run("dead-letters", "discard", request_id, wrong, "--yes")
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert wrong in result.stderr
    assert ids(operator) == [letter]


def test_the_customers_text_is_shown_only_with_an_explicit_option(operator: Operator) -> None:
    request_id = operator.create_dead_letter(description="Jane \x1b]0;Doe")
    (letter,) = ids(operator)
    for arguments in (("dead-letters", "show", letter), ("status", request_id)):
        for more in ((), ("--json",)):
            assert "Jane" not in operator.run(*arguments, *more).output
        shown = operator.run(*arguments, "--with-description")
        assert "Jane" in shown.stdout
        assert "\x1b" not in shown.stdout
    document = operator.json("dead-letters", "show", request_id, "--with-description")
    assert document["request"]["id"] == request_id
    assert document["request"]["description"] == "Jane \x1b]0;Doe"
    assert [each["id"] for each in document["dead_letters"]] == [letter]


def test_the_json_output_and_the_exit_status_report_which_dead_letters_were_redriven_or_discarded(
    operator: Operator,
) -> None:
    operator.create_dead_letter()
    operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[Channel.SLACK], MessageBody="no json")
    result = operator.run("dead-letters", "redrive", "--all", "--yes", "--json")
    document = json.loads(result.stdout)
    assert (document["redriven"], len(document["problems"]), result.exit_code) == (1, 1, 1)
    assert operator.json("dead-letters", "discard", "--all", "--yes") == {"discarded": 1, "problems": []}
    assert operator.json("dead-letters", "discard", "--all", "--yes") == {"discarded": 0, "problems": []}


def test_every_dead_letters_command_accepts_the_option_json() -> None:
    groups = [group_app, *(group.typer_instance for group in app.registered_groups if group.typer_instance)]
    commands = [command.callback for group in groups for command in group.registered_commands]
    lacking = [it.__name__ for it in commands if it and "json" not in signature(it).parameters]
    assert lacking == ["slack_manifest"], "it prints JSON always"


@pytest.fixture
def many_dead_letters(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(dead_letter_queues, "MAX_HELD", 10)
    monkeypatch.setattr(dead_letter_queues, "MAX_READ", 20)
    requests = [f"019a7c1e-5b0c-7d34-9c1f-{number:012}" for number in range(25)]
    for id_ in requests:
        body = json.dumps(
            {
                "version": 1,
                "request": {
                    "id": id_,
                    "topic": "sales",
                    "description": "help",
                    "created_at": "2026-01-31T09:30:00.000Z",
                },
            }
        )
        operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[SLACK], MessageBody=body)
    return requests


def test_the_list_command_says_that_the_queue_contains_more_dead_letters_than_it_lists(
    operator: Operator, many_dead_letters: list[str]
) -> None:
    result = operator.run("dead-letters", "list")
    assert "There are about 5 more" in result.stderr
    assert len(operator.json("dead-letters", "list")) == len(many_dead_letters) - 5


def test_one_of_many_dead_letters_can_be_redriven(operator: Operator, many_dead_letters: list[str]) -> None:
    result = operator.run("dead-letters", "redrive", many_dead_letters[15], "--yes")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("command", ["discard", "redrive"])
def test_a_command_changes_only_the_named_dead_letters_even_if_the_queue_contains_many_others(
    operator: Operator, many_dead_letters: list[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(dead_letter_queues, "MAX_READ", 100)
    assert operator.run("dead-letters", command, *many_dead_letters[:12], "--yes").exit_code == 0
    assert sorted(each["request_id"] for each in operator.json("dead-letters", "list")) == many_dead_letters[12:]


def test_an_id_not_found_within_the_read_limit_is_reported_as_possibly_a_dead_letter_that_was_not_read(
    operator: Operator, many_dead_letters: list[str]
) -> None:
    result = operator.run("dead-letters", "redrive", many_dead_letters[-1], "--yes")
    assert "there are about 5 more than the command has read" in result.stderr


def test_the_dead_letter_of_an_expired_request_is_kept_because_no_consumer_would_send_it(operator: Operator) -> None:
    """It may be so old if it was redriven and failed again, or if it belongs to a late resend."""
    cloud = operator.cloud
    request_id = cloud.post("sales", "too late")
    cloud.produce()
    (record,) = cloud.receive(SLACK)
    with time_machine.travel(utc_now() + timedelta(days=91)):
        cloud.sqs.send_message(QueueUrl=cloud.dlqs[SLACK], MessageBody=record["body"])
        result = operator.run("dead-letters", "redrive", request_id)
        operator.deliver()
        assert operator.posted("too late") == 0
        assert (result.exit_code, result.stdout) == (1, "0 redriven, 1 skipped.\n"), result
        assert "the request has expired" in result.stderr
        assert len(ids(operator)) == 1


def test_discard_all_keeps_a_dead_letter_that_arrived_after_the_command_had_listed_the_others(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has seen it, and its request would have no dead letter that an operator can redrive."""
    monkeypatch.setattr(dead_letter_queues, "MAX_HELD", 2)
    listed = [operator.create_dead_letter() for _ in range(3)]
    late: list[str] = []
    monkeypatch.setattr("cli.dead_letters.confirm", lambda *_, **__: late.append(operator.create_dead_letter()))
    result = operator.run("dead-letters", "discard", "--all")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, f"{len(listed)} discarded, 0 skipped."), result
    assert [letter["request_id"] for letter in operator.json("dead-letters", "list")] == late


def test_redrive_all_sends_every_readable_dead_letter_although_the_first_ones_are_unreadable(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_queues, "MAX_HELD", 10)
    for number in range(12):
        operator.cloud.sqs.send_message(QueueUrl=operator.cloud.dlqs[SLACK], MessageBody=f"no json {number}")
    request_ids = [operator.create_dead_letter() for _ in range(3)]
    result = operator.run("dead-letters", "redrive", "--all", "--yes")
    assert result.stdout.splitlines()[-1] == "3 redriven, 12 skipped."
    operator.deliver()
    assert [operator.cloud.status(request_id) for request_id in request_ids] == ["delivered"] * 3


@pytest.mark.parametrize("act", ["redrive", "discard"])
def test_the_operator_who_redrives_or_discards_a_dead_letter_is_printed_for_an_audit_log(
    operator: Operator, act: str
) -> None:
    operator.create_dead_letter()
    operator.create_dead_letter()
    [first, _] = ids(operator)
    for chosen, named in (((first,), first), (("--all", "--channel", "slack"), "all of slack")):
        line = json.loads(operator.run("dead-letters", act, *chosen, "--yes").stderr)
        assert (line["message"], line["ids"]) == (f"{act} dead letters", named)
        assert line["operator"].startswith("arn:aws:")
    assert operator.run("dead-letters", act, "--all", "--yes").stderr == "There are no dead letters.\n"
