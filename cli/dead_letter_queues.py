"""Read dead letters without removing them, and redrive or discard them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import ValidationError

from assistance.engine import dead_letters
from assistance.engine.dead_letters import DeadLetter
from assistance.history import RESEND
from assistance.models import Message
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.clock import utc_now
from cli import hints
from cli.errors import Failure, explained
from cli.stack import DeadLetterQueue, Stack

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Both SendMessageBatch's limit and DeleteMessageBatch's:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
_BATCH: Final = 10
_BATCH_BYTES: Final = 262_144
"""How long the messages of one SendMessageBatch may be together: SQS takes 1 MiB, and took this much before 2025."""
MAX_HELD: Final = 1_000
"""Maximum number of dead letters to redrive or discard per reading of a queue. SQS hides them from other readers."""
MAX_READ: Final = 10_000
"""Maximum number of dead letters that are read per queue to list them, or to find one by its id."""
_TIME_FOR_A_BATCH: Final = timedelta(seconds=5)
"""Time to reserve for one batch before the visibility timeout of its messages ends. After the timeout, another reader
may receive a dead letter, and then our receipt handle no longer deletes it."""
ID_PREFIX_LENGTH: Final = 8
"""Minimum number of leading characters of its id with which an operator may name a request or a message."""


@dataclass(frozen=True, slots=True)
class QueuedDeadLetter:
    """A dead letter and the queue that holds it. `message` is the parsed body, or None if the body is invalid."""

    queue: DeadLetterQueue
    dead_letter: DeadLetter
    message: Message | None

    @property
    def id(self) -> str:
        """The id of the SQS message."""
        return self.dead_letter.message_id

    @property
    def resend(self) -> str | None:
        """The id of the resend that the message belongs to, or None for another kind of delivery."""
        name = self.dead_letter.delivery or ""
        return name.removeprefix(RESEND) if name.startswith(RESEND) else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of redriving or discarding a dead letter. `problem` says why that failed in whole or in part."""

    dead_letter: QueuedDeadLetter
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The dead letters that were read.

    `hidden`: about how many more the queues hold, which we could not receive because another reader had received them.
    `beyond`: about how many more were not read because they exceed `MAX_READ`.
    """

    dead_letters: list[QueuedDeadLetter]
    hidden: int
    beyond: int = 0


Act: TypeAlias = Callable[[Sequence[QueuedDeadLetter]], list[Outcome]]
"""A function that redrives or discards up to ten dead letters of one queue, and returns a result for each."""


def find(stack: Stack, queues: Sequence[DeadLetterQueue]) -> Found:
    """Read up to 10,000 dead letters of each queue, and make them visible again. Raises what boto3 raises."""
    sqs = stack.sqs()

    def read_queue(queue: DeadLetterQueue) -> tuple[list[QueuedDeadLetter], int, int]:
        with dead_letters.reading(sqs, queue.url, limit=MAX_READ) as letters:
            depth, found = dead_letters.depth(sqs, queue.url), len(letters)
            # SQS's count lags, so it may include a few dead letters that we have read.
            beyond = depth.waiting if found >= MAX_READ else 0
            return [_read(queue, letter) for letter in letters], max(0, depth.in_flight - found), beyond

    with ThreadPoolExecutor(len(queues)) as pool:
        looks = list(pool.map(read_queue, queues))
    letters = sorted((letter for found, *_ in looks for letter in found), key=lambda each: each.dead_letter.sent_at)
    return Found(letters, sum(hidden for _, hidden, _ in looks), sum(beyond for *_, beyond in looks))


def select(found: Found, ids: Sequence[str]) -> list[QueuedDeadLetter]:
    """Select the dead letters with these ids: at least the first eight characters of a request's or a message's id.

    Raises `Failure` if an id matches no dead letter, or several requests or messages.
    """
    chosen: dict[str, QueuedDeadLetter] = {}
    for wanted in (id_.lower() for id_ in ids):
        letters = found.dead_letters if len(wanted) >= ID_PREFIX_LENGTH else []
        of_request = [each for each in letters if (each.dead_letter.request_id or "").startswith(wanted)]
        by_id = [each for each in letters if each.id.startswith(wanted)]
        matches = len(by_id) + len({each.dead_letter.request_id for each in of_request})
        if matches > 1:
            raise Failure(f"the ids of {matches} requests or messages begin with {wanted}: pass more characters")
        if not of_request and not by_id:
            more = " (another reader holds some of them: try again in half a minute)" if found.hidden else ""
            more += f" (there are about {found.beyond} more than the command has read)" if found.beyond else ""
            shows = hints.command("dead-letters", "list")
            raise Failure(f"no dead letter has the id {wanted}: '{shows}' lists all dead letters{more}")
        chosen |= {letter.id: letter for letter in of_request or by_id}
    return list(chosen.values())


def process(stack: Stack, queue: DeadLetterQueue, ids: frozenset[str] | None, act: Act) -> Iterator[Outcome]:
    """Apply `act`, ten at a time, to the queue's dead letters with these message ids, or to all if `ids` is None.

    A message that returns to the queue meanwhile, because it failed again, is a new dead letter and is skipped. Raises
    what boto3 raises.
    """
    sqs, seen = stack.sqs(), set[str]()
    budget = dead_letters.depth(sqs, queue.url).total if ids is None else len(ids)
    # So many ids belong to a large part of the queue: then we read only as many dead letters as we can process at once.
    limit = MAX_HELD if ids is None or len(ids) >= MAX_HELD else MAX_READ
    while len(seen) < budget:
        with dead_letters.reading(sqs, queue.url, limit=limit) as letters:
            fresh = [
                each for each in letters if each.message_id not in seen and (ids is None or each.message_id in ids)
            ]
            fresh = fresh[: min(MAX_HELD, budget - len(seen))]
            before = len(seen)
            for batch in (fresh[start : start + _BATCH] for start in range(0, len(fresh), _BATCH)):
                if utc_now() + _TIME_FOR_A_BATCH > min(each.held_until for each in batch):
                    # The visibility timeout ends too soon: the outer loop receives the remaining dead letters again.
                    break
                seen |= {each.message_id for each in batch}
                yield from act([_read(queue, each) for each in batch])
        if len(seen) == before:
            if ids is None or limit == MAX_READ:
                return
            limit = MAX_READ


def redriver(stack: Stack) -> Act:
    """Return a function that sends dead letters to their channel's queue, and only then deletes them."""
    return partial(_redrive, stack, stack.sqs())


def discarder(stack: Stack) -> Act:
    """Return a function that deletes dead letters."""
    return partial(_delete, stack.sqs())


def _redrive(stack: Stack, sqs: "SQSClient", letters: Sequence[QueuedDeadLetter]) -> list[Outcome]:
    if len(letters) > 1 and sum(len(each.dead_letter.body.encode()) for each in letters) > _BATCH_BYTES:
        half = len(letters) // 2
        return _redrive(stack, sqs, letters[:half]) + _redrive(stack, sqs, letters[half:])
    now = utc_now().timestamp()
    outcomes = [
        Outcome(each, f"no consumer can read it ({each.dead_letter.reason}): see 'dead-letters show', then discard it")
        for each in letters
        if each.message is None
    ]
    outcomes += [
        Outcome(each, "the request has expired, so no consumer would send it: discard it")
        for each in letters
        if each.message and _has_expired(each.message, now)
    ]
    readable = [(each, each.message) for each in letters if each.message and not _has_expired(each.message, now)]
    if not readable:
        return outcomes
    try:
        answer = sqs.send_message_batch(
            QueueUrl=stack.queue_url(readable[0][0].queue.channel),
            Entries=[
                {"Id": str(index), "MessageBody": dead_letters.unwrapped(each.dead_letter.body)}
                for index, (each, _) in enumerate(readable)
            ],
        )
    except AWS_ERRORS as error:
        return outcomes + [Outcome(each, f"not sent: {explained(error)}") for each, _ in readable]
    refused = _refused(answer, len(readable))
    outcomes += [Outcome(readable[index][0], f"not sent: {code}") for index, code in refused.items()]
    sent = [each for index, (each, _) in enumerate(readable) if index not in refused]
    return outcomes + [
        Outcome(
            done.dead_letter,
            done.problem and f"sent, but perhaps not deleted ({done.problem}): list the dead letters again",
        )
        for done in _delete(sqs, sent)
    ]


def _has_expired(message: Message, now: float) -> bool:
    # Messages of version 1 do not contain when their request expires.
    return message.ttl is not None and message.ttl < now


def _delete(sqs: "SQSClient", letters: Sequence[QueuedDeadLetter]) -> list[Outcome]:
    if not letters:
        return []
    entries: Any = [
        {"Id": str(index), "ReceiptHandle": each.dead_letter.receipt_handle} for index, each in enumerate(letters)
    ]
    try:
        answer = sqs.delete_message_batch(QueueUrl=letters[0].queue.url, Entries=entries)
    except AWS_ERRORS as error:
        return [Outcome(each, f"not deleted: {error_code(error)}") for each in letters]
    refused, now = _refused(answer, len(letters)), utc_now()
    # If another reader has received the message since, SQS keeps it and still reports it as deleted:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html
    late = {index: "no answer in time" for index, each in enumerate(letters) if each.dead_letter.held_until < now}
    problems = {index: f"not deleted for certain: {code}" for index, code in (late | refused).items()}
    return [Outcome(each, problems.get(index)) for index, each in enumerate(letters)]


def _refused(answer: Any, entries: int) -> dict[int, str]:  # noqa: ANN401
    """Return the entries that SQS did not confirm: an error code by the entry's index in the batch."""
    taken = {entry["Id"] for entry in answer.get("Successful", [])}
    codes = {entry["Id"]: entry["Code"] for entry in answer.get("Failed", [])}
    return {index: codes.get(str(index), "no answer") for index in range(entries) if str(index) not in taken}


def _read(queue: DeadLetterQueue, letter: DeadLetter) -> QueuedDeadLetter:
    try:
        return QueuedDeadLetter(queue, letter, Message.model_validate_json(dead_letters.unwrapped(letter.body)))
    except ValidationError:
        return QueuedDeadLetter(queue, letter, None)
