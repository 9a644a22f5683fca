"""Queues and a topic in memory that answer the functions' calls as SQS and SNS do."""

import hashlib
import itertools
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeAlias

from botocore.exceptions import ClientError

MOST: Final = 10
"""Maximum number of messages that a receive returns: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html."""
Call: TypeAlias = Mapping[str, Any]
"""The arguments of a call."""
_numbers = itertools.count()


@dataclass
class Held:
    """A message in a queue. Times are milliseconds since 1970."""

    body: str
    attributes: Mapping[str, Any]
    sent_at: int
    id: str = field(default_factory=lambda: f"message-{next(_numbers)}")
    visible_at: int = 0
    first_received_at: int = 0
    receives: int = 0
    handle: str = ""

    def received(self, now: int, visibility: int) -> dict[str, Any]:
        """Hide the message for `visibility` seconds, and return it as SQS does."""
        self.receives += 1
        self.first_received_at = self.first_received_at or now
        self.visible_at = now + 1_000 * visibility
        self.handle = f"{self.id}-{self.receives}"
        return {
            "MessageId": self.id,
            "ReceiptHandle": self.handle,
            "Body": self.body,
            "MD5OfBody": hashlib.md5(self.body.encode(), usedforsecurity=False).hexdigest(),
            "MessageAttributes": dict(self.attributes),
            "Attributes": {
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "SentTimestamp": str(self.sent_at),
                "ApproximateReceiveCount": str(self.receives),
                "ApproximateFirstReceiveTimestamp": str(self.first_received_at),
            },
        }


@dataclass
class Queue:
    """A queue. A message that was received `most` times goes to the queue `dead_letters`. `visibility`: in seconds."""

    visibility: int = 30
    dead_letters: "Queue | None" = None
    most: int = 0
    messages: list[Held] = field(default_factory=list)

    def put(self, body: str, attributes: Mapping[str, Any] | None = None) -> str:
        """Add a message. Returns its id."""
        message = Held(body, attributes or {}, _now())
        self.messages.append(message)
        return message.id

    def receive(self, most: int, visibility: int | None) -> list[dict[str, Any]]:
        """Return at most `most` visible messages, hidden for `visibility` seconds now (None: the queue's default)."""
        now, found = _now(), list[dict[str, Any]]()
        for message in list(self.messages):
            if len(found) == most:
                break
            if message.visible_at >= now:
                continue
            if self.dead_letters and message.receives >= self.most:
                self.messages.remove(message)
                # SQS keeps the message's id and the time at which it was sent, and restarts the receive count.
                moved = Held(message.body, message.attributes, message.sent_at, message.id)
                self.dead_letters.messages.append(moved)
                continue
            found.append(message.received(now, self.visibility if visibility is None else visibility))
        return found

    def of(self, handle: str) -> Held | None:
        """The message with that receipt handle, unless it was received again since."""
        return next((message for message in self.messages if message.handle == handle), None)


class Queues:
    """SQS queues, and an SNS topic whose subscriptions accept the messages that name their queue."""

    def __init__(self, names: Iterable[str]) -> None:
        self.queues = {name: Queue() for name in names}

    def _queue(self, call: Call) -> Queue:
        return self.queues[call["QueueUrl"].rsplit("/", 1)[-1]]

    def send_message(self, call: Call) -> dict[str, Any]:
        return {"MessageId": self._queue(call).put(call["MessageBody"], call.get("MessageAttributes"))}

    def receive_message(self, call: Call) -> dict[str, Any]:
        found = self._queue(call).receive(min(call.get("MaxNumberOfMessages", 1), MOST), call.get("VisibilityTimeout"))
        return {"Messages": found} if found else {}

    def delete_message(self, call: Call) -> dict[str, Any]:
        queue = self._queue(call)
        queue.messages = [each for each in queue.messages if each.handle != call["ReceiptHandle"]]
        return {}

    def change_message_visibility(self, call: Call) -> dict[str, Any]:
        message = self._queue(call).of(call["ReceiptHandle"])
        if message is None or message.visible_at < _now():
            refuse("MessageNotInflight", "ChangeMessageVisibility")
        message.visible_at = _now() + 1_000 * call["VisibilityTimeout"]
        return {}

    def change_message_visibility_batch(self, call: Call) -> dict[str, Any]:
        answer: dict[str, list[dict[str, Any]]] = {"Successful": [], "Failed": []}
        for entry in call["Entries"]:
            try:
                self.change_message_visibility({**entry, "QueueUrl": call["QueueUrl"]})
                answer["Successful"].append({"Id": entry["Id"]})
            except ClientError as error:
                code = error.response["Error"]["Code"]
                answer["Failed"].append({"Id": entry["Id"], "Code": code, "SenderFault": True})
        return answer

    def get_queue_attributes(self, call: Call) -> dict[str, Any]:
        now, messages = _now(), self._queue(call).messages
        waiting = sum(message.visible_at < now for message in messages)
        counts = {
            "ApproximateNumberOfMessages": waiting,
            "ApproximateNumberOfMessagesDelayed": 0,
            "ApproximateNumberOfMessagesNotVisible": len(messages) - waiting,
        }
        return {"Attributes": {name: str(counts[name]) for name in call["AttributeNames"]}}

    def publish_batch(self, call: Call) -> dict[str, Any]:
        """Put each message into every queue that its attribute names, as the subscriptions' filter policies do."""
        for entry in call["PublishBatchRequestEntries"]:
            for name in json.loads(entry["MessageAttributes"]["channels"]["StringValue"]):
                self.queues[name].put(entry["Message"], entry["MessageAttributes"])
        return {"Successful": [{"Id": entry["Id"]} for entry in call["PublishBatchRequestEntries"]], "Failed": []}


def refuse(code: str, operation: str) -> NoReturn:
    """Raise the exception that boto3 raises when AWS answers the operation with that error code."""
    raise ClientError({"Error": {"Code": code, "Message": "refused"}}, operation)


def _now() -> int:
    return int(time.time() * 1_000)
