"""Helpers that many tests use: steps of a request, and queries of its status."""

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient
from moto.sesv2.models import sesv2_backends

from assistance.routing import Channel
from local.slack_server import SlackServer
from tests.fixtures import documented
from tests.integration.cloud import Cloud
from tests.records import record_of


def emails() -> list[str]:
    """The text of every mail that SES has accepted."""
    sent = sesv2_backends["123456789012"]["us-east-1"].core_backend.sent_messages
    return [message.body for message in sent]


def arrived(slack: SlackServer, description: str) -> int:
    return sum(description in json.dumps(message) for message in [*slack.messages, *emails()])


def published(answer: dict[str, Any]) -> int:
    return int(answer.get("outbox", {"published": 0})["published"])


def fail_on_slack(stack: Cloud, slack: SlackServer, description: str) -> str:
    """Create a request whose delivery on Slack has failed. Returns its id."""
    slack.fail("status", status=503)
    request_id = stack.post("sales", description)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    slack.fail("none")
    assert stack.status(request_id) == "failed"
    return request_id


def example(name: str, request_id: str, message_id: str) -> dict[str, Any]:
    event = documented(f"ses/{name}")
    event["mail"]["messageId"] = message_id
    event["mail"]["tags"]["request_id"] = [request_id]
    return event


def sns_event(message: str, **fields: str) -> dict[str, Any]:
    """Return the event with which SNS passes this message, an event of SES, to the email feedback function.

    `fields`: other fields of SNS's notification, such as `Timestamp`.
    """
    event = documented("sns")
    event["Records"][0]["Sns"] |= {"MessageId": "sns-1", "Message": message} | fields
    return event


def invoke_email_feedback(stack: Cloud, message: str, **fields: str) -> None:
    stack.handler("email_feedback")(sns_event(message, **fields), stack.context)


def feedback(stack: Cloud, name: str, request_id: str, message_id: str | None = None) -> None:
    invoke_email_feedback(stack, json.dumps(example(name, request_id, message_id or sent(stack, request_id))))


def sent(stack: Cloud, request_id: str) -> str:
    """SES's id of the last mail that was sent for a request."""
    by_email = [each for each in record_of(stack.table, request_id).deliveries if each.destination == Channel.EMAIL]
    return [attempt.result for each in by_email for attempt in each.attempts if attempt.result][-1]


def mailed(stack: Cloud) -> str:
    request_id = stack.post("pricing", "about the price")
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    assert stack.status(request_id) == "delivered"
    return request_id


def raising(fail: Callable[[str], Any], *operations: str) -> Any:  # noqa: ANN401
    """Return a context in which these AWS operations call `fail` with their name instead."""
    call_aws = BaseClient._make_api_call  # type: ignore[attr-defined] # noqa: SLF001

    def answer(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
        return fail(operation) if operation in operations else call_aws(client, operation, parameters)

    return patch.object(BaseClient, "_make_api_call", answer)


def email_delivery(stack: Cloud, request_id: str) -> dict[str, Any]:
    deliveries: list[dict[str, Any]] = stack.show(request_id)["deliveries"]
    return next(delivery for delivery in deliveries if delivery["channel"] == "email")
