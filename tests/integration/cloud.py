"""The deployed system with moto for AWS: the real handlers, called with the events that AWS would send."""

import base64
import importlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, partial
from importlib.abc import SourceLoader
from types import CodeType
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient
from moto import mock_aws

from assistance.platform.clock import utc_now
from assistance.platform.environment import Environment
from assistance.platform.secret import secrets
from assistance.routing import CALLBACK, DESTINATIONS, ROUTES, Channel, Destination, named, routes
from assistance.store.schema import OUTBOX_SHARD
from slack_consumer.web_api import ids
from tests.fixtures import documented
from tests.integration.resources import (
    client,
    create_email_identity,
    create_queue,
    create_secret,
    create_table,
    create_topic,
    streamed,
    subscribe,
)
from tests.memory_table import MemoryTable, answering, held
from tests.recorded_calls import as_function

RETENTION = timedelta(days=90)
SIGNING_SECRET = "d29yZHMgdGhhdCBiZWxvbmcgaW4gbm8gbG9nIGVpdGhl"
HANDLERS = (
    "api",
    "stream_producer",
    *(f"{destination}_consumer" for destination in DESTINATIONS),
    "email_feedback",
    "reconciler",
)
INTERACTIVE = ("slack_interactions", "take_page")
"""The functions that people call. Version 1 had none of these."""


@cache
def _code(module: str) -> CodeType:
    """The code of a module. `importlib.reload` would read it from the file each time."""
    loader = importlib.import_module(module).__loader__
    assert isinstance(loader, SourceLoader)
    code = loader.get_code(module)
    assert code
    return code


def forget() -> None:
    """Make every function start cold: drop its settings, its clients and its handler.

    `tests/recorded_calls.py` records the AWS calls of the new handler.
    """
    routes.cache_clear()
    secrets.cache_clear()
    ids.cache_clear()
    Environment.read.cache_clear()
    for function in (*HANDLERS, *INTERACTIVE):
        handler = importlib.import_module(f"{function}.handler")
        exec(_code(handler.__name__), vars(handler))  # noqa: S102 # as `importlib.reload` does
        vars(handler)["lambda_handler"] = as_function(function, handler.lambda_handler)


def http_event(
    method: str, path: str, body: str | bytes | None = None, *, api_key_id: str = "bot", **headers: str
) -> dict[str, Any]:
    """An HTTP call as API Gateway passes it to a function, with a body of bytes in Base64.

    In the names of headers `_` stands for `-`.
    """
    resource = "/assistance-requests/{id}" if path.count("/") > 1 else path
    if path.startswith("/take/"):
        resource = "/take/{token}"
    event = documented("api_gateway") | {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "multiValueHeaders": {name.replace("_", "-"): [value] for name, value in headers.items()},
        "pathParameters": {"token": path.removeprefix("/take/")} if resource == "/take/{token}" else None,
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "body": base64.b64encode(body).decode() if isinstance(body, bytes) else body,
        "isBase64Encoded": isinstance(body, bytes),
    }
    event["requestContext"] |= {"resourcePath": resource, "path": path, "httpMethod": method}
    event["requestContext"]["identity"]["apiKeyId"] = api_key_id
    return event


class Context:
    """The part of the Lambda context that the functions use."""

    function_name = "function"
    memory_limit_in_mb = 128
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:function"
    aws_request_id = "invocation"

    def __init__(self, remaining_ms: int = 30_000) -> None:
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class Cloud:
    """The AWS resources, and the work that AWS does between the functions."""

    environment: dict[str, str]
    queues: dict[Destination, str]
    dlqs: dict[Destination, str]
    subscription_dlqs: dict[Destination, str]
    table: Any
    sqs: Any
    streamed: Callable[[int], list[dict[str, Any]]] = streamed
    """Returns the table's stream records with the given number and later ones."""
    seen: int = 0
    context: Any = field(default_factory=Context)

    def handler(self, function: str) -> Callable[[Any, Any], Any]:
        handler: Callable[[Any, Any], Any] = importlib.import_module(f"{function}.handler").lambda_handler
        return handler

    def fetch(self, path: str) -> dict[str, Any]:
        """Call the function of a web page as API Gateway does, and return its response."""
        answer: dict[str, Any] = self.handler("api")(http_event("GET", path), self.context)
        answer["headers"] = {name: ", ".join(values) for name, values in answer["multiValueHeaders"].items()}
        return answer

    def call(
        self, method: str, path: str, body: str | bytes | None = None, *, api_key_id: str = "bot", **headers: str
    ) -> dict[str, Any]:
        """Make an HTTP call through API Gateway. `json` in the returned response is its parsed body."""
        event = http_event(method, path, body, api_key_id=api_key_id, **headers)
        answer: dict[str, Any] = self.handler("api")(event, self.context)
        answer["json"] = json.loads(answer["body"])
        return answer

    def post(self, topic: str, description: str = "help", callback_url: str | None = None, **headers: str) -> str:
        """Make a call that must be accepted, and return the id of the request."""
        callback = {"callback_url": callback_url} if callback_url else {}
        body = json.dumps({"topic": topic, "description": description, **callback})
        answer = self.call("POST", "/assistance-requests", body, Content_Type="application/json", **headers)
        assert answer["statusCode"] == 202, answer
        request_id: str = answer["json"]["id"]
        return request_id

    def show(self, request_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.call("GET", f"/assistance-requests/{request_id}")["json"]
        return shown

    def status(self, request_id: str) -> str:
        return str(self.show(request_id)["status"])

    def stream_records(self) -> list[dict[str, Any]]:
        """The stream's new records that pass the event source's filter."""
        new = self.streamed(self.seen)
        self.seen += len(new)
        return [record for record in new if OUTBOX_SHARD in record["dynamodb"].get("NewImage", {})]

    def produce(self, records: list[dict[str, Any]] | None = None) -> list[str]:
        """Invoke the producer with these records, by default the new ones. Returns the numbers of those that failed."""
        records = self.stream_records() if records is None else records
        answer = self.handler("stream_producer")({"Records": records}, self.context)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def receive(self, channel: Destination, most: int = 10) -> list[dict[str, Any]]:
        """Receive up to `most` messages of the channel's queue, in the form that Lambda passes to a consumer."""
        messages: list[dict[str, Any]] = []
        while asked := min(10, most - len(messages)):
            more = self.sqs.receive_message(
                QueueUrl=self.queues[channel],
                MaxNumberOfMessages=asked,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            messages += more
            if len(more) < asked:
                # moto returns every available message, so the queue is empty now.
                break
        [record] = documented("sqs")["Records"]
        return [
            record
            | {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "md5OfBody": message["MD5OfBody"],
                "attributes": message["Attributes"],
                "messageAttributes": {
                    name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
                    for name, value in message.get("MessageAttributes", {}).items()
                },
            }
            for message in messages
        ]

    def consume(self, channel: Destination, records: list[dict[str, Any]] | None = None) -> list[str]:
        """Invoke a consumer with these messages (by default with up to ten of its queue), and delete the handled ones.

        Returns the ids of the messages that the consumer reports as failed.
        """
        records = self.receive(channel) if records is None else records
        if not records:
            return []
        own = {"QUEUE_URL": self.queues[channel], "DLQ_URL": self.dlqs[channel]}
        with patch.dict(os.environ, own):
            Environment.read.cache_clear()  # each consumer is a function of its own, with its own settings
            answer = self.handler(f"{channel}_consumer")({"Records": records}, self.context)
        failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        for record in records:
            if record["messageId"] not in failed:
                self.sqs.delete_message(QueueUrl=self.queues[channel], ReceiptHandle=record["receiptHandle"])
        return failed

    def consume_until_quiet(self, channel: Destination) -> None:
        """Consume until the queue hands out no message any more. The retry delays are zero in these tests."""
        for _ in range(1_000):
            records = self.receive(channel)
            if not records:
                return
            self.consume(channel, records)
        raise AssertionError("the queue never became quiet")

    def dead_letters(self, channel: Destination) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.sqs.receive_message(
            QueueUrl=self.dlqs[channel],
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            VisibilityTimeout=0,
        ).get("Messages", [])
        return messages

    def redrive(self, channel: Destination) -> None:
        """Move the channel's dead letters, ten at most, back to its queue, as an operator does."""
        for message in self.dead_letters(channel):
            self.sqs.send_message(QueueUrl=self.queues[channel], MessageBody=message["Body"])
            self.sqs.delete_message(QueueUrl=self.dlqs[channel], ReceiptHandle=message["ReceiptHandle"])

    def reconcile(self, later: timedelta = timedelta(0), *, dry_run: bool = False) -> dict[str, Any]:
        """Invoke the reconciler with a clock that is ahead by `later`. Returns its result."""
        deployed = importlib.import_module("reconciler.handler")

        def clock() -> datetime:
            return utc_now() + later

        with ExitStack() as stack:
            stack.enter_context(patch("reconciler.outbox.utc_now", clock))
            stack.enter_context(patch.object(deployed, "Run", partial(deployed.Run, clock=clock)))
            # As Lambda does with the result of a handler.
            answer: dict[str, Any] = json.loads(json.dumps(deployed.lambda_handler({"dry_run": dry_run}, self.context)))
            return answer


@contextmanager
def _at_once() -> Iterator[None]:
    """Disable long polling, for which moto would wait in real time: no further message can arrive meanwhile."""
    make_api_call = BaseClient._make_api_call  # type: ignore[attr-defined] # noqa: SLF001

    def answer(client: Any, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        at_once = {"WaitTimeSeconds": 0} if operation == "ReceiveMessage" else {}
        return make_api_call(client, operation, {**arguments, **at_once})

    with patch.object(BaseClient, "_make_api_call", answer):
        yield


@contextmanager
def cloud(slack_api_url: str) -> Iterator[Cloud]:
    """A new system. The test sets the environment variables of the functions, which are in its `environment`."""
    with mock_aws(), _at_once():
        yield _cloud(slack_api_url, create_table())


@contextmanager
def cloud_without_dynamodb(slack_api_url: str) -> Iterator[Cloud]:
    """A new system with the table in memory, which takes a tenth of the time of moto's."""
    memory = MemoryTable()
    with mock_aws(), _at_once(), answering(memory):
        yield replace(_cloud(slack_api_url, held(memory)), streamed=memory.streamed)


def _cloud(slack_api_url: str, table: Any) -> Cloud:  # noqa: ANN401
    queues, dlqs, subscription_dlqs = dict[Destination, str](), dict[Destination, str](), dict[Destination, str]()
    topic = create_topic("topic")
    for channel in DESTINATIONS:
        dlqs[channel] = create_queue(f"{channel}-dlq")
        subscription_dlqs[channel] = create_queue(f"{channel}-subscription-dlq")
        queues[channel] = create_queue(channel)
        subscribe(topic, channel, {"channels": [channel]})
    # Named by the convention for the secrets of channels. They have no value yet.
    own = {f"{channel.upper()}_SECRET": create_secret(channel) for channel in Channel}
    secret = create_secret("slack-token", "xoxb-local")
    signing = create_secret("signing", SIGNING_SECRET)
    create_email_identity("bot@example.com")
    return Cloud(
        environment={
            **own,
            "TABLE_NAME": "table",
            "TOPIC_ARN": topic,
            "GRACE_SECONDS": "60",
            "RETENTION_DAYS": str(RETENTION.days),
            "RETRY_ATTEMPTS": "3",
            "RETRY_FIRST_DELAY": "0",
            "RETRY_MAX_DELAY": "0",
            "RETRY_DOUBT_DELAY": "0",
            "OVERDUE_SECONDS": "900",
            "QUEUES": json.dumps(
                {
                    channel: {"queue": queues[channel], "dlqs": [dlqs[channel], subscription_dlqs[channel]]}
                    for channel in DESTINATIONS
                    if channel in {*named(ROUTES.values()), CALLBACK}
                }
            ),
            "SLACK_TOKEN_SECRET": secret,
            "SLACK_CHANNEL": "C0ASSIST",
            "SLACK_API_URL": slack_api_url,
            "CALLBACK_SECRET": signing,
            "CALLBACK_LOOPBACK": "true",
            "EMAIL_SENDER": "bot@example.com",
            "EMAIL_RECIPIENTS": '["sales@example.com"]',
            "EMAIL_CONFIGURATION_SET": "feedback",
            "EMAIL_DLQ_URL": dlqs[Channel.EMAIL],
        },
        queues=queues,
        dlqs=dlqs,
        subscription_dlqs=subscription_dlqs,
        table=table,
        sqs=client("sqs"),
    )
