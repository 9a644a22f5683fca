"""Tests unforeseen exceptions: other messages are processed, and the log has type and place, but not the text."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError

from assistance.engine import delivery
from assistance.errors import InvalidSettings
from assistance.models import Outgoing
from assistance.routing import Channel
from assistance.slack.message import digests
from local.slack_server import SlackServer
from slack_consumer import handler as slack_handler
from tests.integration.cloud import Cloud, forget
from tests.integration.steps import example, invoke_email_feedback, mailed, raising, sent
from tests.logs import logging_everything

CANARY = "c4n4ry of a customer's text"
PLACE = re.compile(r"/test_unforeseen_exceptions\.py:[0-9]+ unforeseen$")


def unforeseen(*_: object, **__: object) -> Any:  # noqa: ANN401
    raise KeyError(CANARY)


def produce(stack: Cloud) -> Callable[[], object]:
    stack.post("sales")
    records = stack.stream_records()
    return lambda: stack.produce(records)


def reconcile(stack: Cloud) -> Callable[[], object]:
    stack.post("sales")
    return stack.reconcile


def bounce(stack: Cloud) -> Callable[[], object]:
    request_id = mailed(stack)
    event = json.dumps(example("bounce", request_id, sent(stack, request_id)))
    return lambda: invoke_email_feedback(stack, event)


def logged(text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == "unhandled"]


@pytest.mark.parametrize("prepare", [produce, reconcile, bounce])
def test_an_unforeseen_exception_fails_the_invocation_and_is_logged_without_its_message(
    stack: Cloud, prepare: Callable[[Cloud], Callable[[], object]]
) -> None:
    invoke = prepare(stack)
    with (
        logging_everything() as log,
        raising(unforeseen, "PublishBatch", "Query", "GetItem"),
        # Lambda logs the exception's type and message.
        pytest.raises(Exception, match="KeyError") as failed,
    ):
        invoke()
    assert CANARY not in log.getvalue() + str(failed.value)
    [line] = logged(log.getvalue())
    assert (line["level"], line["error_code"], line["error_type"]) == ("ERROR", "unexpected_error", "KeyError")
    assert PLACE.search(line["frames"][-1])


@pytest.mark.parametrize("function", ["stream_producer", "reconciler", "slack_consumer"])
def test_the_error_of_a_function_with_a_missing_setting_names_the_setting(
    stack: Cloud, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    forget()
    monkeypatch.delenv("TABLE_NAME")
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    with pytest.raises(InvalidSettings, match="TABLE_NAME: missing") as failed:
        stack.handler(function)({"Records": []}, stack.context)
    assert CANARY not in str(failed.value)


def test_a_consumer_logs_an_unforeseen_exception_of_the_send_function_and_retries_the_message(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = stack.post("sales", CANARY)
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    with logging_everything() as log, patch.object(slack_handler, "compose", unforeseen):
        assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert CANARY not in log.getvalue()
    [line] = logged(log.getvalue())
    assert (line["error_code"], line["error_type"]) == ("unexpected_error", "KeyError")
    assert line["request_ids"] == [request_id]
    assert PLACE.search(line["frames"][-1])
    assert stack.show(request_id)["deliveries"][0]["last_error"] == "unexpected_error"
    assert stack.consume(Channel.SLACK, [record]) == []
    assert len(slack.messages) == 1


@pytest.mark.parametrize(
    ("owner", "name"), [(slack_handler, "compose"), (slack_handler, "room"), (delivery, "Outgoing")]
)
def test_a_delivery_that_failed_by_unforeseen_exceptions_has_the_error_code_unforeseen_as_its_reason(
    stack: Cloud, owner: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, unforeseen)
    request_id = stack.post("sales", CANARY)
    stack.produce()
    with logging_everything() as log:
        stack.consume_until_quiet(Channel.SLACK)
    assert CANARY not in log.getvalue()
    attempts = int(stack.environment["RETRY_ATTEMPTS"])
    assert len([line for line in logged(log.getvalue()) if PLACE.search(line["frames"][-1])]) >= attempts
    [own] = [each for each in stack.show(request_id)["deliveries"] if each["channel"] == Channel.SLACK]
    assert (own["status"], own["attempts"], own["last_error"]) == ("failed", attempts, "unexpected_error")
    [letter] = stack.dead_letters(Channel.SLACK)
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "unexpected_error"


def test_a_request_whose_message_cannot_be_rendered_delays_no_other_request_of_its_batch(
    stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_on_one(outgoing: Sequence[Outgoing], at: datetime, **how: Any) -> Iterator[Sequence[Outgoing]]:  # noqa: ANN401
        if any(one.request.description == "odd" for one in outgoing):
            raise KeyError(CANARY)
        yield from digests(outgoing, at, **how)

    monkeypatch.setattr(slack_handler, "digests", fails_on_one)
    ids = [stack.post("sales", description) for description in ("even", "odd", "even too")]
    stack.produce()
    stack.consume(Channel.SLACK)
    first = [stack.show(request_id)["deliveries"][0] for request_id in ids]
    assert [each["status"] for each in first] == ["delivered", "retrying", "delivered"]
    assert [each["attempts"] for each in first] == [1, 1, 1]
    assert len(slack.messages) == 2


@pytest.mark.parametrize("operation", ["PutItem", "SendMessage"])
def test_a_consumer_logs_an_unforeseen_exception_outside_the_send_function_and_retries_the_message(
    stack: Cloud, slack: SlackServer, operation: str
) -> None:
    stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    slack.fail("error", error="is_archived")
    with logging_everything() as log, raising(unforeseen, operation):
        assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert CANARY not in log.getvalue()
    lines = logged(log.getvalue())
    assert {line["error_type"] for line in lines} == {"KeyError"}
    assert all(PLACE.search(line["frames"][-1]) for line in lines)


def refused(*_: object) -> Any:  # noqa: ANN401
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": CANARY}}, "SendMessage")


@pytest.mark.parametrize(("fail", "code"), [(unforeseen, "unexpected_error"), (refused, "AccessDenied")])
def test_a_damaged_message_that_could_not_be_dead_lettered_is_logged_and_retried(
    stack: Cloud, fail: Callable[..., Any], code: str
) -> None:
    stack.sqs.send_message(QueueUrl=stack.queues[Channel.SLACK], MessageBody=CANARY)
    [record] = stack.receive(Channel.SLACK)
    with logging_everything() as log, raising(fail, "SendMessage"):
        assert stack.consume(Channel.SLACK, [record]) == [record["messageId"]]
    assert CANARY not in log.getvalue()
    [line] = logged(log.getvalue())
    assert (line["message_id"], line["error_code"]) == (record["messageId"], code)


def test_a_known_provider_failure_is_not_logged_as_an_unforeseen_exception(stack: Cloud, slack: SlackServer) -> None:
    stack.post("sales")
    stack.produce()
    slack.fail("status", status=503)
    with logging_everything() as log:
        assert stack.consume(Channel.SLACK)
    assert logged(log.getvalue()) == []
