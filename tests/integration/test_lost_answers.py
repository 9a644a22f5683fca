"""Tests database writes whose response is lost, so that the SDK repeats them: each counts once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from botocore.awsrequest import AWSResponse
from moto.core.botocore_stubber import BotocoreStubber

from assistance.engine import takes
from assistance.routing import CALLBACK, Channel
from assistance.store.requests import Requests
from assistance.store.table import Items
from local.slack_server import SlackServer
from tests.integration.cloud import SIGNING_SECRET, Cloud
from tests.integration.steps import emails, feedback, mailed
from tests.receiver import Receiver
from tests.records import record_of, resend

pytestmark = pytest.mark.moto


class Empty:
    """The empty body of a response."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield b"{}"

    def read(self) -> bytes:
        return b"{}"


@contextmanager
def lost_answer(number: int) -> Iterator[list[str]]:
    """Answer write `number` to DynamoDB with a 500 after it succeeded: botocore repeats it. Yields all writes."""
    real, writes = BotocoreStubber.__call__, list[str]()

    def lossy(self: Any, event_name: str, request: Any, **rest: Any) -> Any:  # noqa: ANN401
        answer = real(self, event_name, request, **rest)
        operation = str(request.headers.get("X-Amz-Target")).rpartition(".")[2].strip("'")
        if operation in {"PutItem", "UpdateItem"}:
            writes.append(operation)
            if len(writes) == number:
                body: Any = Empty()
                headers: Any = {"content-type": "application/x-amz-json-1.0"}
                return AWSResponse(request.url, 500, headers, body)
        return answer

    with patch.object(BotocoreStubber, "__call__", lossy):
        yield writes
    assert len(writes) > number, "and was repeated"


@pytest.mark.parametrize("number", [1, 2])
def test_a_lost_database_response_before_or_after_the_send_causes_one_message_and_one_counted_attempt(
    stack: Cloud, slack: SlackServer, number: int
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    with lost_answer(number):
        assert stack.consume(Channel.SLACK) == []
    assert len(slack.messages) == 1
    [delivery] = stack.show(request_id)["deliveries"]
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 1)


@pytest.mark.parametrize("number", [1, 2])
def test_a_failed_attempt_is_counted_once_if_the_database_response_to_its_write_is_lost(
    stack: Cloud, slack: SlackServer, number: int
) -> None:
    slack.fail("status", status=503, times=1)
    request_id = stack.post("sales")
    stack.produce()
    with lost_answer(number):
        assert len(stack.consume(Channel.SLACK)) == 1
    [delivery] = stack.show(request_id)["deliveries"]
    assert (delivery["status"], delivery["attempts"]) == ("retrying", 1)


def test_an_accepted_request_is_stored_once_if_the_database_response_is_lost(stack: Cloud) -> None:
    with lost_answer(1):
        request_id = stack.post("sales", Idempotency_Key="key")
    assert [item["pk"] for item in stack.table.scan()["Items"]] == [request_id]


def test_a_published_request_is_marked_once_if_the_database_response_is_lost(stack: Cloud) -> None:
    request_id = stack.post("sales")
    with lost_answer(1):
        assert stack.produce() == []
    assert stack.status(request_id) == "published"
    assert len(stack.receive(Channel.SLACK)) == 1


def test_a_failed_delivery_causes_one_fallback_and_one_callback_if_the_database_response_is_lost(
    stack: Cloud, slack: SlackServer
) -> None:
    slack.fail("error", error="is_archived")
    with Receiver() as bot:
        request_id = stack.post("sales", callback_url=bot.url)
        stack.produce()
        with lost_answer(2):
            stack.consume(Channel.SLACK)
        stack.produce()
        with lost_answer(2):
            stack.consume(Channel.EMAIL)
        stack.produce()
        with lost_answer(1):
            stack.consume(CALLBACK)
        [call] = bot.calls
    assert call.verified(SIGNING_SECRET)["type"] == "assistance_request.delivered"
    assert len(emails()) == 1
    assert len(record_of(stack.table, request_id).callbacks) == 1
    assert len(stack.dead_letters(Channel.SLACK)) == 1


def test_a_bounce_causes_one_fallback_if_the_database_response_is_lost(stack: Cloud, slack: SlackServer) -> None:
    request_id = mailed(stack)
    with lost_answer(1):
        feedback(stack, "bounce", request_id)
    assert len(stack.dead_letters(Channel.EMAIL)) == 1
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert len(slack.messages) == 1


def test_a_resend_sends_one_message_if_the_database_response_is_lost(stack: Cloud, slack: SlackServer) -> None:
    request_id = stack.post("sales")
    stack.produce()
    stack.consume(Channel.SLACK)
    with lost_answer(1):
        resend(stack.table, request_id, Channel.SLACK)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert len(slack.messages) == 2


def test_a_take_or_release_counts_once_and_causes_one_callback_if_the_database_response_is_lost(
    stack: Cloud, slack: SlackServer
) -> None:
    with Receiver() as bot:
        request_id = stack.post("sales", callback_url=bot.url)
    stack.produce()
    stack.consume(Channel.SLACK)
    requests = Requests(Items(stack.table))
    with lost_answer(1):
        taken = takes.take(requests, request_id, "t1", by="Anna", via="slack")
    assert taken.is_new
    assert [each.id for each in record_of(stack.table, request_id).takes] == ["t1"]
    with lost_answer(1):
        takes.release(requests, request_id, "t1", by="Anna", via="slack")
    record = record_of(stack.table, request_id)
    assert (record.taken, len(record.takes), len(record.callbacks)) == (None, 1, 3)
