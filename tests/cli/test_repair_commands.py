"""Tests `assistance heartbeat`, `secrets`, `failures` and `items`, so that the runbook needs no other tool."""

import io
import json
from contextlib import redirect_stdout
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from assistance.routing import Channel
from assistance.store.requests import record_key, request_key
from cli import failed_events
from cli.commands.repairs import heartbeat
from cli.errors import Failure
from cli.stack import Stack
from email_consumer import handler as email_handler
from tests.cli.steps import Operator
from tests.integration.resources import create_queue
from tests.integration.steps import example, mailed, sent, sns_event

FEEDBACK = ("EmailFeedbackFailures5A97F89E", "EmailFeedbackSubscriptionDlq425D9620")
STREAM = "StreamProducerFailures1A2B3C4D"


@pytest.fixture(autouse=True)
def deployed(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Lets commands call the real functions. Returns the URLs of the queues for failed events, by logical id."""
    queues = {id_: create_queue(id_) for id_ in (*FEEDBACK, STREAM)}

    def invoke(_: Stack, folder: str, event: Any) -> Any:  # noqa: ANN401
        try:
            # The function's log is not part of the command's output.
            with redirect_stdout(io.StringIO()):
                return operator.cloud.handler(folder)(event, operator.cloud.context)
        except Exception as error:  # noqa: BLE001 # as Lambda does
            raise Failure(f"{folder} failed ({type(error).__name__}): its log says why") from None

    monkeypatch.setattr(Stack, "invoke", invoke)
    monkeypatch.setattr(Stack, "resources", lambda *_: queues)
    return queues


def send_message(operator: Operator, url: str, body: object) -> None:
    operator.cloud.sqs.send_message(QueueUrl=url, MessageBody=body if isinstance(body, str) else json.dumps(body))


def message_count(operator: Operator, url: str) -> int:
    answer = operator.cloud.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def failed_event(payload: object) -> dict[str, Any]:
    """Lambda's message about an event, `payload`, that a function failed to process.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    context = {"requestId": "e4b46cbf", "functionArn": "arn", "condition": "RetriesExhausted"}
    return {"version": "1.0", "requestContext": context, "requestPayload": payload, "responsePayload": {}}


def test_the_retry_command_processes_a_bounce_event_that_the_email_feedback_function_could_not_process(
    operator: Operator, deployed: dict[str, str]
) -> None:
    failures, subscription = (deployed[id_] for id_ in FEEDBACK)
    bounces = []
    for _ in range(2):
        request_id = mailed(operator.cloud)
        bounces.append((request_id, json.dumps(example("bounce", request_id, sent(operator.cloud, request_id)))))
    send_message(operator, failures, failed_event(sns_event(bounces[0][1])))
    send_message(operator, subscription, {"Type": "Notification", "MessageId": "sns-2", "Message": bounces[1][1]})
    listed = operator.run("failures", "list", "email_feedback", "--json")
    assert [each["reason"] for each in json.loads(listed.stdout)] == ["RetriesExhausted", "dead_lettered"]
    assert "@" not in listed.output, "they name recipients"
    assert operator.json("failures", "retry", "email_feedback") == {"retried": 2, "problems": []}
    assert {operator.cloud.status(request_id) for request_id, _ in bounces} == {"failed"}
    assert message_count(operator, failures) + message_count(operator, subscription) == 0


@pytest.mark.parametrize("body", ["{}", "no JSON", "[1]", failed_event(sns_event("no event of SES's"))])
def test_an_invalid_email_feedback_event_stays_in_the_failures_queue_until_the_operator_discards_it(
    operator: Operator, deployed: dict[str, str], body: object
) -> None:
    send_message(operator, deployed[FEEDBACK[0]], body)
    result = operator.run("failures", "retry", "email_feedback")
    assert (result.exit_code, "0 retried, 1 failed." in result.stdout) == (1, True)
    operator.make_messages_visible()
    assert operator.run("failures", "discard", "email_feedback").exit_code == 1, "it asks first"
    assert operator.json("failures", "discard", "email_feedback", "--yes")["discarded"] == 1
    assert message_count(operator, deployed[FEEDBACK[0]]) == 0


def hold_an_event(operator: Operator, url: str) -> None:
    """Put a failed event into the queue, and let another reader receive it."""
    send_message(operator, url, failed_event({}))
    operator.cloud.sqs.receive_message(QueueUrl=url, VisibilityTimeout=30)


def test_failed_events_that_another_reader_holds_are_not_reported_as_absent(
    operator: Operator, deployed: dict[str, str]
) -> None:
    hold_an_event(operator, deployed[FEEDBACK[0]])
    listed = operator.run("failures", "list", "email_feedback")
    assert ("There are no failed events" in listed.stderr, "Another reader holds" in listed.stderr) == (False, True)
    for command in (("discard", "--yes"), ("retry",)):
        dealt = operator.run("failures", command[0], "email_feedback", *command[1:])
        assert (dealt.exit_code, "Another reader holds" in dealt.stderr) == (1, True), dealt.output


def test_the_retry_command_says_which_events_it_could_not_read_although_one_that_it_read_fails(
    operator: Operator, deployed: dict[str, str]
) -> None:
    hold_an_event(operator, deployed[FEEDBACK[0]])
    send_message(operator, deployed[FEEDBACK[0]], "{}")
    retried = operator.run("failures", "retry", "email_feedback", "--json")
    assert (retried.exit_code, json.loads(retried.stdout)["retried"]) == (1, 0), retried.output
    assert "Another reader holds about 1 more" in retried.stderr


def test_the_failures_commands_say_if_the_queue_contains_more_events_than_they_read(
    operator: Operator, deployed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_events, "MAX_READ", 10)
    for _ in range(12):
        send_message(operator, deployed[FEEDBACK[0]], failed_event({}))
    assert "There are about 2 more" in operator.run("failures", "list", "email_feedback").stderr
    dealt = operator.run("failures", "discard", "email_feedback", "--yes")
    assert (dealt.exit_code, "10 discarded" in dealt.stdout, "about 2 more" in dealt.stderr) == (1, True, True)


@pytest.mark.parametrize("down", [False, True])
def test_the_retry_command_runs_the_reconciler_before_it_deletes_failures_of_the_stream_producer(
    operator: Operator, deployed: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, down: bool
) -> None:
    send_message(
        operator,
        deployed[STREAM],
        {"requestContext": {"condition": "RetryAttemptsExhausted"}, "DDBStreamBatchInfo": {}},
    )
    answer = {"outbox": {"published": 1, "failed": int(down), "unreadable": 0}}
    monkeypatch.setattr(Stack, "reconcile", lambda _, *, dry_run: answer if not dry_run else {})
    assert [each["reason"] for each in operator.json("failures", "list", "stream")] == ["RetryAttemptsExhausted"]
    assert operator.run("failures", "retry", "stream").exit_code == int(down)
    operator.make_messages_visible()
    assert message_count(operator, deployed[STREAM]) == int(down)
    assert operator.run("failures", "list", "stream").exit_code == 0


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ({"kind": "none"}, 0, "found no problem"),
        ({"kind": "error", "error": "invalid_auth"}, 1, "invalid_auth"),
        ({"kind": "drop"}, 1, "does not answer"),
    ],
)
def test_the_heartbeat_command_prints_the_result_of_the_consumers_self_check(
    operator: Operator, fault: dict[str, Any], code: int, said: str
) -> None:
    operator.slack.fail(**fault)
    result = operator.run("heartbeat", "slack")
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert not operator.slack.messages


def test_the_help_of_the_heartbeat_command_names_the_mail_that_the_email_consumer_sends(operator: Operator) -> None:
    with patch.object(email_handler, "mail") as mail:
        assert operator.run("heartbeat", "email").exit_code == 0
    [(_, to, _)] = [call.args for call in mail.call_args_list]
    assert to == ["success@simulator.amazonses.com"]
    assert "a mail to SES's mailbox simulator" in (heartbeat.__doc__ or "")


def secret(operator: Operator, name: str, value: str | None = None) -> Any:  # noqa: ANN401
    client = operator.session.client("secretsmanager")
    stored = {"SecretString": value} if value else {}
    operator.outputs[name] = client.create_secret(Name=f"another-{name}", **stored)["ARN"]
    return lambda: client.get_secret_value(SecretId=operator.outputs[name])["SecretString"]


@pytest.mark.parametrize(
    ("name", "output", "good", "bad"),
    [
        ("slack-token", "SlackTokenSecretArn", "xoxb-SECRET1", "xoxb\u2011SECRET1"),
        ("slack-signing", "SlackSigningSecretArn", "SECRET1A" * 4, "SECRET1"),
        ("take", "TakeSecretArn", "SECRET1A" * 4, "SECRET1 SECRET1"),
        ("callback", "CallbackSecretArn", "whsec_" + "SECRET1A" * 4, "SECRET1"),
        ("teams-sales", "TeamsSalesSecretArn", "https://a.example/SECRET1", "http://a.example/SECRET1"),
    ],
)
def test_a_secret_value_is_stored_only_if_the_function_that_reads_it_accepts_its_form_and_is_never_printed(
    operator: Operator, name: str, output: str, good: str, bad: str
) -> None:
    stored = secret(operator, output)
    for value in (bad, " \n"):
        refused = operator.run("secrets", "set", name, terminal=value)
        assert (refused.exit_code, "nothing was stored" in refused.stderr) == (1, True), refused.output
        assert "SECRET1" not in refused.output
    taken = operator.run("secrets", "set", name, terminal=f"{good}\n")
    assert (taken.exit_code, "within 5 minutes" in taken.stdout, stored()) == (0, True, good)
    assert "SECRET1" not in taken.output
    assert json.loads(taken.stderr)["secret"] == name
    assert operator.json("secrets", "list") == {name: operator.outputs[output]}


@pytest.mark.parametrize(
    "mistake",
    [
        json.dumps({"signing-secret": "SECRET1A" * 4}, separators=(",", ":")),
        f'"{"SECRET1A" * 4}"',
        f"SLACK_SIGNING_SECRET={'SECRET1A' * 4}",
        f"xoxb-1111-{'SECRET1A' * 4}",
        f"xapp-1-{'SECRET1A' * 4}",
    ],
)
def test_a_token_or_json_in_place_of_slacks_signing_secret_is_refused(operator: Operator, mistake: str) -> None:
    stored = secret(operator, "SlackSigningSecretArn", "SECRET2A" * 4)
    refused = operator.run("secrets", "set", "slack-signing", terminal=mistake)
    assert (refused.exit_code, "nothing was stored" in refused.stderr) == (1, True)
    assert stored() == "SECRET2A" * 4, "with the mistake, Slack's signature would fit no click"
    assert "SECRET1" not in refused.output


def test_a_secret_in_a_file_that_is_not_utf_8_is_refused_with_one_line(operator: Operator) -> None:
    stored = secret(operator, "SlackTokenSecretArn", "xoxb-1")
    refused = operator.run("secrets", "set", "slack-token", terminal="xoxb-SECRET1".encode("utf-16"))
    assert (refused.exit_code, type(refused.exception)) == (1, SystemExit), repr(refused.exception)
    assert ("not UTF-8" in refused.stderr, refused.stderr.count("\n"), stored()) == (True, 1, "xoxb-1")


def test_a_new_signing_key_is_stored_together_with_the_old_key(operator: Operator) -> None:
    stored = secret(operator, "TakeSecretArn", f"{'b' * 32} {'a' * 32}")
    secret(operator, "SlackTokenSecretArn")
    assert operator.run("secrets", "set", "take", "--keep-old", terminal="c" * 32).exit_code == 0
    assert stored() == f"{'c' * 32} {'b' * 32}"
    assert operator.run("secrets", "set", "slack-token", "--keep-old", terminal="xoxb-2").exit_code == 1


def test_a_repeated_command_keeps_the_old_key_that_the_first_one_kept(operator: Operator) -> None:
    # Somebody who does not know whether the first command stored the key repeats it.
    stored = secret(operator, "TakeSecretArn", "a" * 32)
    for _ in range(2):
        assert operator.run("secrets", "set", "take", "--keep-old", terminal="b" * 32).exit_code == 0
    assert stored() == f"{'b' * 32} {'a' * 32}", "links that are signed with the old key still work"


@pytest.mark.parametrize("kept", [{"SecretString": " "}, {"SecretBinary": b"key"}, {}])
def test_a_secret_without_a_key_is_reported_as_a_one_line_error(operator: Operator, kept: dict[str, Any]) -> None:
    client = operator.session.client("secretsmanager")
    operator.outputs["CallbackSecretArn"] = client.create_secret(Name="unusable", **kept)["ARN"]
    for command in (("secrets", "set", "callback", "--keep-old"), ("env",)):
        result = operator.run(*command, terminal="whsec_" + "SECRET1A" * 4)
        assert (result.exit_code, type(result.exception)) == (1, SystemExit), repr(result.exception)
        assert ("secret" in result.stderr, result.stderr.count("\n")) == (True, 1), result.stderr


def test_the_items_delete_command_deletes_only_unreadable_items(operator: Operator) -> None:
    request_id = operator.cloud.post("sales", "secret words")
    refused = operator.run("items", "delete", request_id, "--yes")
    assert (refused.exit_code, "can be read" in refused.stderr) == (1, True)
    table = operator.cloud.table
    table.put_item(Item={**table.get_item(Key=request_key(request_id))["Item"], "topic": 5})
    shown = operator.run("items", "show", request_id)
    assert ("topic" in shown.stdout, "secret words" in shown.output) == (True, False)
    values = operator.run("items", "show", request_id, "--with-description").stdout
    assert ("secret words" in values, '["slack"]' in values, "Decimal(" in values) == (True, True, False), values
    assert operator.run("items", "delete", request_id).exit_code == 1, "it asks first"
    assert operator.json("items", "delete", request_id, "--yes") == {"deleted": ["REQUEST"]}
    assert " items show " in operator.run("items", "delete", request_id, "--yes").stderr
    assert "pass a complete id" in operator.run("items", "show", request_id[:8]).stderr
    assert operator.run("items", "delete", "LEDGER", "--yes").exit_code == 1


def test_the_record_of_a_request_is_not_deleted_if_it_is_the_request_item_that_cannot_be_read(
    operator: Operator,
) -> None:
    request_id = mailed(operator.cloud)
    table = operator.cloud.table
    table.put_item(Item={**table.get_item(Key=request_key(request_id))["Item"], "topic": 5})
    refused = operator.run("items", "delete", request_id, "--only", "RECORD", "--yes")
    assert (refused.exit_code, "REQUEST item can't be read" in " ".join(refused.stderr.split())) == (1, True)
    assert "Item" in table.get_item(Key=record_key(request_id)), "the record says what was sent"


def test_the_record_of_a_request_is_deleted_if_only_the_record_cannot_be_read(operator: Operator) -> None:
    request_id = mailed(operator.cloud)
    table = operator.cloud.table
    table.put_item(Item={**table.get_item(Key=record_key(request_id))["Item"], "record": 5})
    assert operator.json("items", "delete", request_id, "--only", "RECORD", "--yes") == {"deleted": ["RECORD"]}


def test_after_the_record_of_a_finished_request_is_deleted_its_deliveries_begin_anew(operator: Operator) -> None:
    cloud = operator.cloud
    request_id = mailed(cloud)
    for minutes in (1, 20):
        assert cloud.reconcile(later=timedelta(minutes=minutes))["ledger"]["lost"] == []
    cloud.table.put_item(Item={**cloud.table.get_item(Key=record_key(request_id))["Item"], "record": 5})
    operator.json("items", "delete", request_id, "--only", "RECORD", "--yes")
    assert cloud.reconcile(later=timedelta(hours=1))["ledger"]["lost"] == [request_id]
    cloud.produce()
    cloud.consume_until_quiet(Channel.EMAIL)
    assert cloud.status(request_id) == "delivered"


def test_the_record_of_an_erased_request_is_not_deleted_alone_because_no_human_could_use_the_request(
    operator: Operator,
) -> None:
    cloud = operator.cloud
    request_id = mailed(cloud)
    operator.json("erase", request_id, "--yes")
    cloud.table.put_item(Item={**cloud.table.get_item(Key=record_key(request_id))["Item"], "record": 5})
    refused = operator.run("items", "delete", request_id, "--only", "RECORD", "--yes")
    assert (refused.exit_code, "somebody has erased" in " ".join(refused.stderr.split())) == (1, True), refused.stderr
    assert cloud.reconcile(later=timedelta(hours=1))["ledger"]["lost"] == []
    assert operator.json("items", "delete", request_id, "--yes") == {"deleted": ["RECORD", "REQUEST"]}


def test_an_item_key_that_is_an_unset_variable_is_refused(operator: Operator) -> None:
    for command in (("show", ""), ("delete", "", "--yes")):
        result = operator.run("items", *command)
        assert (result.exit_code, "the key is empty" in " ".join(result.stderr.split())) == (2, True), result.stderr
