"""Implements `assistance failures`: lists, retries or discards events that a Lambda function failed to process.

The function is the stream producer, for events of the table's stream, or the email feedback, for events of SES.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from assistance.engine import dead_letters
from assistance.engine.dead_letters import DeadLetter
from assistance.platform.clock import utc_now
from cli.errors import Failure
from cli.stack import Stack

_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_TIME_FOR_ONE: Final = timedelta(seconds=5)
MAX_READ: Final = 1_000
"""Maximum number of failed events that a command reads per queue."""


class Source(StrEnum):
    """The function that failed to process events: the stream producer or the email feedback."""

    STREAM = "stream"
    EMAIL_FEEDBACK = "email_feedback"


_QUEUES: Final = {
    Source.STREAM: re.compile(r"StreamProducerFailures[0-9A-F]{8}"),
    # The first holds events that the function failed to process, the second those that SNS could not pass to it.
    Source.EMAIL_FEEDBACK: re.compile(r"EmailFeedback(Failures|SubscriptionDlq)[0-9A-F]{8}"),
}


@dataclass(frozen=True, slots=True)
class Failed:
    """A queued message about an event that a function could not process.

    It contains no text of a request. An event for the email feedback may contain the addresses of recipients.
    """

    dead_letter: DeadLetter

    @property
    def _document(self) -> dict[str, Any]:
        try:
            found = json.loads(self.dead_letter.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def reason(self) -> str:
        """Why the event failed: the condition that Lambda's message names, else the error code that SNS gives.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
        """
        context = self._document.get("requestContext")
        condition = context.get("condition") if isinstance(context, dict) else None
        return condition if isinstance(condition, str) and _CODE.fullmatch(condition) else self.dead_letter.reason

    @property
    def event(self) -> dict[str, Any] | None:
        """The event that the email feedback did not process, or None if the message contains no event.

        It is Lambda's copy of the event, or SNS's message in the form in which Lambda passes it to a function.
        """
        document = self._document
        payload = document.get("requestPayload")
        if isinstance(payload, dict):
            return payload
        # https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
        return {"Records": [{"Sns": document}]} if isinstance(document.get("Message"), str) else None


@dataclass(frozen=True, slots=True)
class Processed:
    """The result for one failed event. `problem`: why its message was kept; None if the message was deleted."""

    failed: Failed
    problem: str | None = None


@dataclass(slots=True)
class Unread:
    """About how many failed events a command could not read.

    `hidden`: those that another reader had received. `beyond`: those that exceeded `MAX_READ`.
    """

    hidden: int = 0
    beyond: int = 0


def queues(stack: Stack, of: Source) -> list[str]:
    """The URLs of the queues for failed events of that function. Raises `Failure` if the stack has no such queue."""
    found = [url for id_, url in stack.resources("AWS::SQS::Queue").items() if _QUEUES[of].fullmatch(id_)]
    if not found:
        raise Failure(f"the stack {stack.name} has no queue for failed events of {of}")
    return found


def find(stack: Stack, of: Source) -> tuple[list[Failed], Unread]:
    """Read the messages about a function's failed events, oldest first. The messages stay in their queues."""
    found, unread = list[DeadLetter](), Unread()
    for url in queues(stack, of):
        with _reading(stack, url, unread) as letters:
            found += letters
    return [Failed(letter) for letter in sorted(found, key=lambda each: each.sent_at)], unread


@contextmanager
def _reading(stack: Stack, url: str, unread: Unread) -> Iterator[list[DeadLetter]]:
    sqs = stack.sqs()
    with dead_letters.reading(sqs, url, limit=MAX_READ) as letters:
        depth = dead_letters.depth(sqs, url)
        unread.hidden += max(0, depth.in_flight - len(letters))
        unread.beyond += depth.waiting if len(letters) >= MAX_READ else 0
        yield letters


def retry(stack: Stack, of: Source, unread: Unread) -> Iterator[Processed]:
    """Process a function's failed events again, delete the messages about those that succeed, and yield each result.

    Counts in `unread` the events that it could not read. Raises `Failure` if the reconciler can't publish the requests
    of the stream's failed events.
    """
    if of is Source.EMAIL_FEEDBACK:
        return _processed(stack, of, unread, lambda failed: _process_again(stack, failed))
    # Messages of the stream contain no events, only positions in the stream. The requests are still in the outbox, and
    # a sweep of the reconciler publishes those that are due.
    ids = {failed.dead_letter.message_id for failed in find(stack, of)[0]}
    answer = stack.reconcile(dry_run=False) if ids else {}
    if ids and (answer["outbox"]["failed"] or answer["outbox"]["unreadable"]):
        raise Failure(
            "the reconciler could not publish everything: see OldestUnpublishedAge and UnreadableItems in "
            "docs/operations.md, then retry"
        )
    later = "the command had not read it before the reconciler ran: run the command again"
    return _processed(stack, of, unread, lambda failed: None if failed.dead_letter.message_id in ids else later)


def discard(stack: Stack, of: Source, unread: Unread) -> Iterator[Processed]:
    """Delete the messages about a function's failed events, and yield each result. `unread`: as for `retry`."""
    return _processed(stack, of, unread, lambda _: None)


def _process_again(stack: Stack, failed: Failed) -> str | None:
    if failed.event is None:
        return "the message contains no event: discard it"
    try:
        stack.invoke("email_feedback", failed.event)
    except Failure as error:
        return str(error)
    return None


def _processed(stack: Stack, of: Source, unread: Unread, act: Callable[[Failed], str | None]) -> Iterator[Processed]:
    sqs = stack.sqs()
    for url in queues(stack, of):
        with _reading(stack, url, unread) as letters:
            for failed in map(Failed, letters):
                if utc_now() + _TIME_FOR_ONE > failed.dead_letter.held_until:
                    yield Processed(failed, "not processed yet: run the command again")
                    continue
                problem = act(failed)
                if problem is None:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=failed.dead_letter.receipt_handle)
                yield Processed(failed, problem)
