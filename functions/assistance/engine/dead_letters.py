"""Write dead letters, and read them without consuming them."""

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from assistance.history import RESEND
from assistance.ids import is_request_id
from assistance.platform.aws import SQSClient
from assistance.platform.clock import utc_now
from assistance.platform.response_parsers import UnreadableAnswer
from assistance.platform.sqs_attributes import number
from assistance.routing import Destination

if TYPE_CHECKING:
    from mypy_boto3_sqs.literals import QueueAttributeNameType
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# While somebody reads dead letters, SQS counts them as in flight and gives them to no other reader. That takes a second
# or two, or this many seconds if the reader is killed. The alarms allow for that: infra/monitoring.py.
READ_SECONDS: Final = 30
_RECEIVE = 10
_PARALLEL = 10
UNKNOWN: Final = "dead_lettered"
_COUNTS: Final[Mapping["QueueAttributeNameType", str]] = {
    "ApproximateNumberOfMessages": "",
    "ApproximateNumberOfMessagesNotVisible": "",
    "ApproximateNumberOfMessagesDelayed": "0",
}
"""The queue attributes that count messages, each with the text to use if SQS leaves it out. Empty means an error."""
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that was read in a dead-letter queue. No other reader receives it before `held_until`."""

    message_id: str
    receipt_handle: str
    body: str
    request_id: str | None  # None if the message is too damaged to read the id
    delivery: str | None  # the delivery's name; None for the request's own channel
    reason: str  # an error code
    sent_at: int  # when the message entered the dead-letter queue, in milliseconds since 1970
    held_until: datetime = field(compare=False)


def write(
    sqs: SQSClient, queue_url: str, body: str, *, code: str, channel: Destination, source_message_id: str
) -> None:
    """Put `body` into a dead-letter queue, with the error code and the SQS or SNS id of the message that led to it."""
    attributes = {"error_code": code, "channel": channel, "source_message_id": source_message_id}
    sqs.send_message(
        QueueUrl=queue_url,
        MessageBody=body,
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds, approximately. `waiting` includes delayed messages."""

    waiting: int
    in_flight: int

    @property
    def total(self) -> int:
        """The number of all messages in the queue."""
        return self.waiting + self.in_flight


def depth(sqs: SQSClient, queue_url: str) -> Depth:
    """How many messages are in the queue. Raises what boto3 raises.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueAttributes.html
    """
    counts = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=list(_COUNTS))["Attributes"]
    waiting, in_flight, delayed = (number(counts.get(name, default)) for name, default in _COUNTS.items())
    if waiting is None or delayed is None or in_flight is None:
        # Don't return zero: the reconciler would think that the queue is empty, and publish its messages again.
        raise UnreadableAnswer(reason="no number of messages")
    return Depth(waiting + delayed, in_flight)


@contextmanager
def reading(sqs: SQSClient, queue_url: str, *, limit: int = 1_000, bodies: bool = True) -> Iterator[list[DeadLetter]]:
    """Receive up to `limit` dead letters of the queue, and hide them from other readers until the `with` block ends.

    After the block, dead letters that the caller has not deleted become visible again; if the process is killed, they
    do so after `READ_SECONDS`. With `bodies=False`, bodies are not kept, so that many dead letters fit into memory.
    """
    letters: dict[str, DeadLetter] = {}

    def receive(_: int) -> bool:
        held_until = utc_now() + timedelta(seconds=READ_SECONDS)
        messages = sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=_RECEIVE,
            VisibilityTimeout=READ_SECONDS,
            # Long polling asks all of SQS's servers, so an empty answer means an empty queue:
            # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        ).get("Messages", [])
        letters.update((each["MessageId"], _letter(each, held_until, bodies=bodies)) for each in messages)
        return len(messages) == _RECEIVE

    with ThreadPoolExecutor(_PARALLEL) as pool:
        try:
            calls, seen = 1, -1
            # Stop after a round without a new message: then all have been read, even if SQS has handed out the first
            # ones twice because they had become visible again.
            while seen < len(letters) < limit:
                seen = len(letters)
                more = all(list(pool.map(receive, range(calls))))
                # Start with one call and double the number, so that a short queue takes few calls.
                calls = min(2 * calls, _PARALLEL, ceil((limit - len(letters)) / _RECEIVE)) if more else 1
            yield list(letters.values())
        finally:
            handles = [letter.receipt_handle for letter in letters.values()]
            batches = [handles[start : start + _RECEIVE] for start in range(0, len(handles), _RECEIVE)]
            list(pool.map(partial(_release, sqs, queue_url), batches))


def _release(sqs: SQSClient, queue_url: str, handles: list[str]) -> None:
    sqs.change_message_visibility_batch(
        QueueUrl=queue_url,
        Entries=[{"Id": str(at), "ReceiptHandle": each, "VisibilityTimeout": 0} for at, each in enumerate(handles)],
    )


def _letter(message: "MessageTypeDef", held_until: datetime, *, bodies: bool) -> DeadLetter:
    attributes = message.get("MessageAttributes", {})
    # Consumers set `error_code`, and SNS sets `ErrorCode`:
    # https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
    reasons = (attributes[name].get("StringValue", "") for name in ("error_code", "ErrorCode") if name in attributes)
    return DeadLetter(
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"] if bodies else "",
        request_id=request_id_in(message["Body"]),
        delivery=_delivery_in(message["Body"]),
        # Other programs may have set the attribute: only a text that looks like an error code may be logged or shown.
        reason=next(filter(_CODE.fullmatch, reasons), UNKNOWN),
        sent_at=number(message.get("Attributes", {}).get("SentTimestamp")) or 0,
        held_until=held_until,
    )


def unwrapped(body: str) -> str:
    """The body as a consumer receives it: taken out of SNS's envelope, if SNS has moved the message to a DLQ."""
    document = _parsed(body)
    inner = None if "request" in document else document.get("Message")
    return inner if isinstance(inner, str) and inner else body


def request_id_in(body: str) -> str | None:
    """The id of a message's request, even if the rest of the message is unreadable. None if the id is unreadable."""
    request = _parsed(unwrapped(body)).get("request")
    id_ = request.get("id") if isinstance(request, dict) else None
    return id_ if is_request_id(id_) else None


def _delivery_in(body: str) -> str | None:
    named = _parsed(unwrapped(body))
    # A message of version 1 has no `delivery`. For a resend it has `force`, the resend's id.
    force = named.get("force")
    found = f"{RESEND}{force}" if isinstance(force, str) else named.get("delivery")
    return found if isinstance(found, str) else None


def _parsed(body: str) -> dict[str, Any]:
    """The JSON object in a body; {} if the body is no JSON object."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
