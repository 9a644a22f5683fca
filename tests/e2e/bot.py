"""A client of the running stack: it calls the API like a bot, and reads what people received."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import boto3

from local import http
from local.cloud import Cloud
from local.slack_workspace import buttons
from local.stack import Stack
from local.wait import until

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

ARRIVAL_SECONDS = 60
MAILED = re.compile(r"^Request (\S{36}), ", re.MULTILINE)


class SlackBeyond:
    """The local Slack server, which runs in another process."""

    def __init__(self, bot: "Bot") -> None:
        self.fail = bot.fault
        self._bot = bot

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self._bot.everything_on_slack()


class Bot:
    """A client of the API that `stack.json` describes."""

    def __init__(self, stack: Mapping[str, Any]) -> None:
        self.stack = stack
        self.outputs: Mapping[str, str] = stack["outputs"]
        session = boto3.Session(**stack["credentials"], region_name=stack["region"])
        endpoint = stack["aws_endpoint_url"]
        self.sqs: SQSClient = session.client("sqs", endpoint_url=endpoint)
        self.dynamodb: DynamoDBClient = session.client("dynamodb", endpoint_url=endpoint)
        self.secrets: SecretsManagerClient = session.client("secretsmanager", endpoint_url=endpoint)
        self.lambda_: LambdaClient = session.client("lambda", endpoint_url=endpoint)

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> http.Answer:
        """Call the API with the API key, unless `headers` contain another key."""
        return http.call(
            method,
            self.stack["api_url"] + path,
            body=body,
            headers={"x-api-key": self.stack["api_key"], **(headers or {})},
        )

    def post(
        self, topic: str, description: str = "Hello", members: Mapping[str, Any] | None = None, **headers: str
    ) -> str:
        """Send a request that must be accepted, and return its id. `members`: further fields of the call."""
        body = {"topic": topic, "description": description, **(members or {})}
        answer = self.call("POST", "/assistance-requests", body, {k.replace("_", "-"): v for k, v in headers.items()})
        assert answer.status == 202, answer
        return str(answer.json["id"])

    def show(self, request_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/assistance-requests/{request_id}")
        assert answer.status == 200, answer
        shown: dict[str, Any] = answer.json
        return shown

    def until(
        self, request_id: str, holds: Callable[[dict[str, Any]], bool], seconds: float = ARRIVAL_SECONDS
    ) -> dict[str, Any]:
        """Wait until `holds` is true of the API's status response. Returns the response, or fails after `seconds`."""

        def look() -> dict[str, Any] | None:
            shown = self.show(request_id)
            return shown if holds(shown) else None

        return until(f"request {request_id} reads as expected", seconds, look)

    def until_status(self, request_id: str, status: str, seconds: float = ARRIVAL_SECONDS) -> dict[str, Any]:
        return self.until(request_id, lambda shown: shown["status"] == status, seconds)

    def as_runner(self, directory: Path) -> Stack:
        """The stack as an object of the program that runs it, but without webhooks and without the child process."""
        cloud = Cloud(self.stack["aws_endpoint_url"], self.stack["credentials"], cast(Any, None), directory)
        slack: Any = SimpleNamespace(server=SlackBeyond(self))
        return Stack(
            self.stack["stack_name"],
            self.stack["api_url"],
            self.stack["api_key"],
            self.outputs,
            cloud,
            slack,
            cast(Any, None),
        )

    @contextmanager
    def paused(self, source: str) -> Iterator[None]:
        """Disable that event source (given by a part of its ARN) within the context."""
        mappings = self.lambda_.list_event_source_mappings()["EventSourceMappings"]
        [uuid] = [mapping["UUID"] for mapping in mappings if source in mapping["EventSourceArn"]]
        self.lambda_.update_event_source_mapping(UUID=uuid, Enabled=False)
        try:
            yield
        finally:
            self.lambda_.update_event_source_mapping(UUID=uuid, Enabled=True)

    def queue_name(self, channel: str) -> str:
        return self.outputs[f"{channel.capitalize()}QueueUrl"].rpartition("/")[2]

    def fault(self, kind: str, **details: object) -> None:
        """Make the local Slack respond to each call with the fault `kind`, as `details` say; 'none' ends the fault."""
        answer = http.call("PUT", f"{self.stack['slack_control_url']}/fault", body={"kind": kind, **details})
        assert answer.status == 200, answer

    def press(self, user: str, request_id: str, action_id: str | None = None) -> None:
        """Click the request's button as a Slack user, or the button with that `action_id` if the user still sees it."""
        [(message, value)] = [
            (message, button["value"])
            for message in self.everything_on_slack()
            for button in buttons(message)
            if request_id in button["value"]
        ]
        pressed = {"ts": message["ts"], "user": user, "value": value, "action_id": action_id}
        answer = http.call("POST", f"{self.stack['slack_control_url']}/press", body=pressed)
        assert (answer.status, answer.json) == (200, {"status": 200})

    def ephemeral_messages(self) -> list[dict[str, Any]]:
        """Return the ephemeral messages, which only one Slack user sees."""
        ephemeral_messages: list[dict[str, Any]] = http.call(
            "GET", f"{self.stack['slack_control_url']}/ephemeral_messages"
        ).json
        return ephemeral_messages

    def messages(self, request_id: str = "") -> list[dict[str, Any]]:
        """Return the posts in Slack: all posts, or those of one request."""
        posted = self.everything_on_slack()
        return [message for message in posted if any(request_id in one for one in _requests_in(message))]

    def everything_on_slack(self) -> list[dict[str, Any]]:
        """Every message in the local Slack, whichever app posted it."""
        messages: list[dict[str, Any]] = http.call("GET", f"{self.stack['slack_control_url']}/messages").json
        return messages

    def posted(self) -> Counter[str]:
        """Return the number of posts in Slack by request id."""
        return Counter(one for message in self.messages() for one in _requests_in(message))

    def mails(self, request_id: str = "") -> list[dict[str, Any]]:
        """Return the sent mails: all, or those of one request."""
        url = f"{self.stack['aws_endpoint_url']}/_ministack/ses/messages"
        accounts = http.signed("GET", url, self.stack["credentials"]).json["messages"]
        return [mail for mails in accounts.values() for mail in mails if request_id in mail["BodyText"]]

    def console(self, method: str, path: str, body: object = None, **headers: str) -> http.Answer:
        """Call the console as its web page does; `headers` replace the headers of the page."""
        origin, _, token = self.stack["console_url"].partition("/#token=")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.call(method, f"{origin}{path}", body=body, headers={"X-Console": token, **sent})

    def mailed(self) -> Counter[str]:
        """Return the number of mails by request id."""
        return Counter(MAILED.findall(mail["BodyText"])[-1] for mail in self.mails())

    def stored(self, condition: str = "sk = :request") -> int:
        """Return the number of items in the table that meet the filter `condition`; by default, of the requests."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.outputs["TableName"],
            ConsistentRead=True,
            FilterExpression=condition,
            ExpressionAttributeValues={":request": {"S": "REQUEST"}},
        )
        return sum(page["Count"] for page in pages)

    def published(self) -> int:
        """Return the number of published requests."""
        return self.stored("sk = :request AND attribute_exists(published_at)")

    @contextmanager
    def visibility_timeout(self, seconds: int) -> Iterator[None]:
        """Within the context, give the queues of Slack and email this visibility timeout."""
        before = {}
        for channel in ("slack", "email"):
            url = self.outputs[f"{channel.capitalize()}QueueUrl"]
            answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
            before[url] = answer["Attributes"]["VisibilityTimeout"]
            self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})
        try:
            yield
        finally:
            for url, usual in before.items():
                self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": usual})

    def until_queues_are_empty(self, seconds: float = ARRIVAL_SECONDS) -> None:
        """Wait until every queue is empty.

        Messages in flight and messages that are hidden until their next attempt count too.
        """

        def empty() -> bool | None:
            for name in ("SlackQueueUrl", "EmailQueueUrl"):
                counts = self.sqs.get_queue_attributes(
                    QueueUrl=self.outputs[name],
                    AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
                )["Attributes"]
                if any(int(count) for count in counts.values()):
                    return None
            return True

        until("the queues are empty", seconds, empty)

    def dead_letter(self, channel: str, request_id: str) -> str | None:
        """The error code of the request's dead letter on that channel, or None if there is none."""
        letters = self.sqs.receive_message(
            QueueUrl=self.outputs[f"{channel.capitalize()}DlqUrl"],
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            VisibilityTimeout=0,
        ).get("Messages", [])
        for letter in letters:
            if json.loads(letter["Body"])["request"]["id"] == request_id:
                return letter["MessageAttributes"]["error_code"]["StringValue"]
        return None


def _requests_in(message: Mapping[str, Any]) -> list[str]:
    if message["metadata"] is None:  # The message was updated.
        return [button["value"].split()[0] for button in buttons(message)]
    payload = message["metadata"]["event_payload"]
    return [str(one["request_id"]) for one in payload.get("requests", [payload])]
