"""Dead letters: found without being consumed, then redriven or discarded."""

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
AT_ONCE: Final = 1_000
"""How many are held while they are dealt with, ten at a time."""
MOST: Final = 10_000
"""How many are looked at, to list them or to find the one that is named."""
_TIME_FOR_A_BATCH: Final = timedelta(seconds=5)
"""Once a letter's hold is over somebody else may receive it, and we can delete it no more."""
SHORT: Final = 8
"""How much of a message's id names it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and where it lies. `message` is None where a consumer could not read it."""

    queue: DeadLetterQueue
    letter: DeadLetter
    message: Message | None

    @property
    def id(self) -> str:
        """The id of the SQS message."""
        return self.letter.message_id

    @property
    def resend(self) -> str | None:
        """The operator's decision that it carries out, if it is the message of a resend."""
        name = self.letter.delivery or ""
        return name.removeprefix(RESEND) if name.startswith(RESEND) else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a letter: `problem` says why it was not, or not fully, dealt with."""

    letter: Letter
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The letters that lie there.

    `hidden`: about how many somebody else was looking at just then; `beyond`: about how many more there are.
    """

    letters: list[Letter]
    hidden: int
    beyond: int = 0


Act: TypeAlias = Callable[[Sequence[Letter]], list[Outcome]]
"""Deals with up to ten letters of one queue."""


def find(stack: Stack, queues: Sequence[DeadLetterQueue]) -> Found:
    """Look at up to 10,000 letters in each queue, and put them back. Raises what boto3 raises."""
    sqs = stack.sqs()

    def look(queue: DeadLetterQueue) -> tuple[list[Letter], int, int]:
        with dead_letters.looking(sqs, queue.url, limit=MOST) as letters:
            depth, found = dead_letters.depth(sqs, queue.url), len(letters)
            # Approximate: a few that seem to wait are among those that have been read.
            beyond = depth.waiting if found >= MOST else 0
            return [_read(queue, letter) for letter in letters], max(0, depth.in_flight - found), beyond

    with ThreadPoolExecutor(len(queues)) as pool:
        looks = list(pool.map(look, queues))
    letters = sorted((letter for found, *_ in looks for letter in found), key=lambda each: each.letter.sent_at)
    return Found(letters, sum(hidden for _, hidden, _ in looks), sum(beyond for *_, beyond in looks))


def named(found: Found, ids: Sequence[str]) -> list[Letter]:
    """The letters with these ids: of a request, or of a message, of which the first eight characters will do.

    Raises `Failure` when an id names no letter, or several messages.
    """
    chosen: dict[str, Letter] = {}
    for wanted in (id_.lower() for id_ in ids):
        of_request = [letter for letter in found.letters if letter.letter.request_id == wanted]
        by_id = [letter for letter in found.letters if len(wanted) >= SHORT and letter.id.startswith(wanted)]
        if len(by_id) > 1:
            raise Failure(f"{wanted} is the beginning of {len(by_id)} messages' ids: give more of it")
        if not of_request and not by_id:
            more = " (somebody else is reading some: try again in half a minute)" if found.hidden else ""
            more += f" (there are about {found.beyond} more than the command has read)" if found.beyond else ""
            shows = hints.command("dead-letters", "list")
            raise Failure(f"no dead letter has the id {wanted}: '{shows}' shows them all{more}")
        chosen |= {letter.id: letter for letter in of_request or by_id}
    return list(chosen.values())


def deal_with(stack: Stack, queue: DeadLetterQueue, ids: frozenset[str] | None, act: Act) -> Iterator[Outcome]:
    """Take the letters with these ids, or all that are there now, and act on them ten at a time.

    A letter that dies again meanwhile is a new one, and left alone. Raises what boto3 raises.
    """
    sqs, seen = stack.sqs(), set[str]()
    budget = dead_letters.depth(sqs, queue.url).total if ids is None else len(ids)
    while len(seen) < budget:
        with dead_letters.looking(sqs, queue.url, limit=AT_ONCE if ids is None else MOST) as letters:
            fresh = [
                each for each in letters if each.message_id not in seen and (ids is None or each.message_id in ids)
            ]
            fresh = fresh[: min(AT_ONCE, budget - len(seen))]
            before = len(seen)
            for batch in (fresh[start : start + _BATCH] for start in range(0, len(fresh), _BATCH)):
                if utc_now() + _TIME_FOR_A_BATCH > min(each.held_until for each in batch):
                    # The next look holds the rest anew.
                    break
                seen |= {each.message_id for each in batch}
                yield from act([_read(queue, each) for each in batch])
        if len(seen) == before:
            return


def redriving(stack: Stack) -> Act:
    """Send letters to their channel's queue; only then delete them. In between, they are twice there, never nowhere."""
    return partial(_redrive, stack, stack.sqs())


def discarding(stack: Stack) -> Act:
    """Delete letters."""
    return partial(_delete, stack.sqs())


def _redrive(stack: Stack, sqs: "SQSClient", letters: Sequence[Letter]) -> list[Outcome]:
    outcomes = [
        Outcome(each, f"no consumer can read it ({each.letter.reason}): look at it, then discard it")
        for each in letters
        if each.message is None
    ]
    readable = [(each, each.message) for each in letters if each.message]
    if not readable:
        return outcomes
    try:
        answer = sqs.send_message_batch(
            QueueUrl=stack.queue_url(readable[0][0].queue.channel),
            Entries=[
                {"Id": str(index), "MessageBody": dead_letters.unwrapped(each.letter.body)}
                for index, (each, _) in enumerate(readable)
            ],
        )
    except AWS_ERRORS as error:
        return outcomes + [Outcome(each, f"not sent: {explained(error)}") for each, _ in readable]
    refused = _refused(answer, len(readable))
    outcomes += [Outcome(readable[index][0], f"not sent: {code}") for index, code in refused.items()]
    sent = [each for index, (each, _) in enumerate(readable) if index not in refused]
    return outcomes + [
        Outcome(done.letter, done.problem and f"sent, but its letter may be there still ({done.problem}): look again")
        for done in _delete(sqs, sent)
    ]


def _delete(sqs: "SQSClient", letters: Sequence[Letter]) -> list[Outcome]:
    if not letters:
        return []
    entries: Any = [
        {"Id": str(index), "ReceiptHandle": each.letter.receipt_handle} for index, each in enumerate(letters)
    ]
    try:
        answer = sqs.delete_message_batch(QueueUrl=letters[0].queue.url, Entries=entries)
    except AWS_ERRORS as error:
        return [Outcome(each, f"not deleted: {error_code(error)}") for each in letters]
    refused, now = _refused(answer, len(letters)), utc_now()
    # SQS keeps a letter that somebody else has received since, and says that it is deleted:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html
    late = {index: "no answer in time" for index, each in enumerate(letters) if each.letter.held_until < now}
    problems = {index: f"not deleted for certain: {code}" for index, code in (late | refused).items()}
    return [Outcome(each, problems.get(index)) for index, each in enumerate(letters)]


def _refused(answer: Any, entries: int) -> dict[int, str]:  # noqa: ANN401
    """Of a batch's entries those that SQS does not say it has taken, by their number, each with a code."""
    taken = {entry["Id"] for entry in answer.get("Successful", [])}
    codes = {entry["Id"]: entry["Code"] for entry in answer.get("Failed", [])}
    return {index: codes.get(str(index), "no answer") for index in range(entries) if str(index) not in taken}


def _read(queue: DeadLetterQueue, letter: DeadLetter) -> Letter:
    try:
        return Letter(queue, letter, Message.model_validate_json(dead_letters.unwrapped(letter.body)))
    except ValidationError:
        return Letter(queue, letter, None)
