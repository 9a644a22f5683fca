"""AWS for the fault tests: an implementation in memory, which is fast, or moto.

Both answer the functions' calls, and both show the tests the content of the queues, the table and the mailbox.
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from moto.dynamodb.models import dynamodb_backends
from moto.sesv2.models import sesv2_backends
from moto.sqs.models import sqs_backends

from assistance.routing import DESTINATIONS
from assistance.store.schema import OUTBOX_SHARD
from tests.integration.cloud import SIGNING_SECRET
from tests.integration.resources import streamed
from tests.memory_queues import Queues, refuse
from tests.memory_table import MemoryTable, answered
from tests.recorded_calls import note

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
MAX_RECEIVE_COUNT: Final = 12
"""Receives of a message before SQS moves it to the dead-letter queue: so few that this happens in the tests."""
VISIBILITY: Final = 180

Call = Callable[[Any, str, dict[str, Any]], Any]
"""Makes an AWS call: takes the client, the operation and its arguments, and returns the response."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that SES has accepted."""

    id: str
    request_id: str


class Aws(Protocol):
    """The interface to AWS that the simulated system uses."""

    def calling(self, make_api_call: Call) -> Call:
        """The function that answers AWS calls. `make_api_call` is botocore's original one."""

    def bodies(self, name: str) -> list[str]:
        """The bodies of the messages in a queue, including those in flight."""

    def purge(self, name: str, before: float = float("inf")) -> None:
        """Delete messages that were sent to a queue before that time, in seconds since 1970."""

    def stream(self, since: int) -> list[dict[str, Any]]:
        """The stream records except the first `since`."""

    def streamed(self) -> int:
        """Return the number of records in the stream."""

    def mails(self) -> list[Mail]:
        """Return the mails that SES has accepted, in order."""

    def has_outbox(self) -> bool:
        """Whether any item has an outbox entry."""

    def reset(self) -> None:
        """Delete all items, messages, mails and stream records."""


@dataclass(slots=True)
class Memory:
    """AWS in memory. It has only the operations that the functions call."""

    table: MemoryTable = field(default_factory=MemoryTable)
    sqs: Queues = field(
        default_factory=lambda: Queues(
            f"{destination}{kind}" for destination in DESTINATIONS for kind in ("", "-dlq", "-subscription-dlq")
        )
    )
    sent: list[Mail] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        for destination in DESTINATIONS:
            queue = self.sqs.queues[destination]
            queue.visibility, queue.most = VISIBILITY, MAX_RECEIVE_COUNT
            queue.dead_letters = self.sqs.queues[f"{destination}-dlq"]

    def calling(self, make_api_call: Call) -> Call:  # noqa: ARG002
        operations: Mapping[str, Callable[..., Any]] = {
            "dynamodb.PutItem": self.table.put_item,
            "dynamodb.UpdateItem": self.table.update_item,
            "dynamodb.DeleteItem": self.table.delete_item,
            "dynamodb.GetItem": self.table.get_item,
            "dynamodb.BatchGetItem": self.table.batch_get_item,
            "dynamodb.Query": self.table.query,
            "sqs.SendMessage": self.sqs.send_message,
            "sqs.ReceiveMessage": self.sqs.receive_message,
            "sqs.DeleteMessage": self.sqs.delete_message,
            "sqs.ChangeMessageVisibility": self.sqs.change_message_visibility,
            "sqs.ChangeMessageVisibilityBatch": self.sqs.change_message_visibility_batch,
            "sqs.GetQueueAttributes": self.sqs.get_queue_attributes,
            "sns.PublishBatch": self.sqs.publish_batch,
            "sesv2.SendEmail": self._send_email,
            "secretsmanager.GetSecretValue": self._get_secret_value,
        }

        def call(client: Any, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
            name = f"{client.meta.service_model.service_name}.{operation}"
            note(name, arguments)
            return answered(client, operation, operations[name], arguments)

        return call

    def _send_email(self, call: Mapping[str, Any]) -> dict[str, Any]:
        tags = {tag["Name"]: tag["Value"] for tag in call["EmailTags"]}
        mail = Mail(f"mail-{next(self.numbers)}", tags["request_id"])
        self.sent.append(mail)
        return {"MessageId": mail.id}

    @staticmethod
    def _get_secret_value(call: Mapping[str, Any]) -> dict[str, Any]:
        values = {"slack-token": "xoxb-local", "signing": SIGNING_SECRET, "slack-signing": "s" * 32, "take": "t" * 44}
        found = next((value for name, value in values.items() if f":{name}-" in call["SecretId"]), None)
        if found is None:
            refuse("ResourceNotFoundException", "GetSecretValue")
        return {"SecretString": found}

    def bodies(self, name: str) -> list[str]:
        return [message.body for message in self.sqs.queues[name].messages]

    def purge(self, name: str, before: float = float("inf")) -> None:
        queue = self.sqs.queues[name]
        queue.messages = [message for message in queue.messages if message.sent_at > before * 1_000]

    def stream(self, since: int) -> list[dict[str, Any]]:
        return self.table.streamed(since)

    def streamed(self) -> int:
        return self.table.writes

    def mails(self) -> list[Mail]:
        return self.sent

    def has_outbox(self) -> bool:
        return any(OUTBOX_SHARD in item for item in self.table.items())

    def reset(self) -> None:
        self.table.clear()
        for queue in self.sqs.queues.values():
            queue.messages.clear()
        self.sent.clear()


class Moto:
    """AWS as moto implements it, in this process."""

    def calling(self, make_api_call: Call) -> Call:
        return make_api_call

    @property
    def _table(self) -> Any:  # noqa: ANN401
        return dynamodb_backends[ACCOUNT][REGION].tables["table"]

    @property
    def _mailbox(self) -> Any:  # noqa: ANN401
        return sesv2_backends[ACCOUNT][REGION].core_backend.sent_messages

    @staticmethod
    def _queue(name: str) -> Any:  # noqa: ANN401
        return sqs_backends[ACCOUNT][REGION].queues[name]

    def bodies(self, name: str) -> list[str]:
        return [message.body for message in self._queue(name)._messages]  # noqa: SLF001

    def purge(self, name: str, before: float = float("inf")) -> None:
        queue = self._queue(name)
        queue._messages = [each for each in queue._messages if each.sent_timestamp > before * 1_000]  # noqa: SLF001

    def stream(self, since: int) -> list[dict[str, Any]]:
        return streamed(since)

    def streamed(self) -> int:
        return len(self._table.stream_shard.items)

    def mails(self) -> list[Mail]:
        # moto does not store the mail's tags, but the text ends with the request's id and time.
        return [Mail(each.id, re.findall(r"Request (\S+), \d", each.body)[-1]) for each in self._mailbox]

    def has_outbox(self) -> bool:
        return any(OUTBOX_SHARD in item.attrs for of in self._table.items.values() for item in of.values())

    def reset(self) -> None:
        self._table.items.clear()
        self._table.stream_shard.items.clear()
        for queue in sqs_backends[ACCOUNT][REGION].queues.values():
            queue._messages.clear()  # noqa: SLF001
            queue.pending_messages.clear()
            queue.deleted_messages.clear()
        self._mailbox.clear()
