"""Failed events of the stream's producer and of the email feedback: list, retry or discard them."""

import json
import re
from collections.abc import Callable, Iterator
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


class Of(StrEnum):
    """The function whose failed events are meant."""

    STREAM = "stream"
    EMAIL_FEEDBACK = "email_feedback"


_QUEUES: Final = {
    Of.STREAM: re.compile(r"StreamProducerFailures[0-9A-F]{8}"),
    # What the function has failed on, and what SNS could not hand to it.
    Of.EMAIL_FEEDBACK: re.compile(r"EmailFeedback(Failures|SubscriptionDlq)[0-9A-F]{8}"),
}


@dataclass(frozen=True, slots=True)
class Failed:
    """A message that says what failed. It holds no request; that of the feedback may name recipients."""

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
        """Why Lambda gave up: its own word, else SNS's code.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
        """
        context = self._document.get("requestContext")
        condition = context.get("condition") if isinstance(context, dict) else None
        return condition if isinstance(condition, str) and _CODE.fullmatch(condition) else self.dead_letter.reason

    @property
    def event(self) -> dict[str, Any] | None:
        """The event that the email feedback has not taken: Lambda's copy of it, or SNS's message as Lambda gets it."""
        document = self._document
        payload = document.get("requestPayload")
        if isinstance(payload, dict):
            return payload
        # https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
        return {"Records": [{"Sns": document}]} if isinstance(document.get("Message"), str) else None


@dataclass(frozen=True, slots=True)
class Processed:
    """The result for one message: it is deleted unless there is a problem."""

    failed: Failed
    problem: str | None = None


def queues(stack: Stack, of: Of) -> list[str]:
    """The URLs of the queues. Raises `Failure` if the stack has none."""
    found = [url for id_, url in stack.resources("AWS::SQS::Queue").items() if _QUEUES[of].fullmatch(id_)]
    if not found:
        raise Failure(f"the stack {stack.name} keeps no failures of {of}")
    return found


def find(stack: Stack, of: Of) -> list[Failed]:
    """The messages, oldest first. They stay."""
    found: list[DeadLetter] = []
    for url in queues(stack, of):
        with dead_letters.looking(stack.sqs(), url) as letters:
            found += letters
    return [Failed(letter) for letter in sorted(found, key=lambda each: each.sent_at)]


def retried(stack: Stack, of: Of) -> Iterator[Processed]:
    """Do what had failed, then delete the messages. What fails again stays."""
    if of is Of.EMAIL_FEEDBACK:
        return _processed(stack, of, lambda failed: _again(stack, failed))
    # Of the stream they name places alone. The requests are in the outbox: a sweep publishes what is due.
    ids = {failed.dead_letter.message_id for failed in find(stack, of)}
    answer = stack.reconcile(dry_run=False) if ids else {}
    if answer.get("under_way"):
        raise Failure("a sweep is under way just now: try again in a minute")
    if ids and (answer["outbox"]["failed"] or answer["outbox"]["unreadable"]):
        raise Failure("a sweep could not publish everything: see OldestUnpublishedAge and UnreadableItems, then retry")
    later = "it came while this ran: run this again"
    return _processed(stack, of, lambda failed: None if failed.dead_letter.message_id in ids else later)


def discarded(stack: Stack, of: Of) -> Iterator[Processed]:
    """Delete the messages."""
    return _processed(stack, of, lambda _: None)


def _again(stack: Stack, failed: Failed) -> str | None:
    if failed.event is None:
        return "it holds no event: discard it"
    try:
        stack.invoke("email_feedback", failed.event)
    except Failure as error:
        return str(error)
    return None


def _processed(stack: Stack, of: Of, act: Callable[[Failed], str | None]) -> Iterator[Processed]:
    sqs = stack.sqs()
    for url in queues(stack, of):
        with dead_letters.looking(sqs, url) as letters:
            for failed in map(Failed, letters):
                if utc_now() + _TIME_FOR_ONE > failed.dead_letter.held_until:
                    yield Processed(failed, "not looked at yet: run this again")
                    continue
                problem = act(failed)
                if problem is None:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=failed.dead_letter.receipt_handle)
                yield Processed(failed, problem)
