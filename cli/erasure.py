"""`assistance erase`: remove the texts of one request, and list where else they may be stored."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from assistance.domain import takes
from assistance.domain.record import Outcome, Record
from assistance.platform.clock import epoch_ms, timestamp_of, utc_now
from assistance.store.requests import RequestGone, Requests
from cli import dead_letter_queues, hints
from cli.errors import Failure
from cli.stack import Stack

_REACH: Final = (
    "the messages in Slack and Teams, and the mails: delete them there, by the ids above if any are listed",
    "the table's backups: point-in-time recovery keeps 35 days at most; after a restore, erase the request again",
    "a channel's queue after a redrive: the consumer drops the message, or SQS deletes it within four days",
    "the table's stream: DynamoDB deletes its records after 24 hours",
    "failed events from SES, with the mails' subjects: the queues of EmailFeedbackFailures keep them 14 days at most",
    "the records of the bot and of its chat platform",
)
"""Places whose copies of a request's texts `assistance erase` can't erase. Logs, metrics and traces have no copies."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that a provider accepted. `message`: the provider's id of the message. `place`: where it was posted.

    Both are None if they are unknown.
    """

    channel: str
    place: str | None
    message: str | None
    at: str


@dataclass(frozen=True, slots=True)
class Erased:
    """The result of an erasure, and the messages sent before it.

    `dead_letters`: how many dead letters were deleted. `problems`: one line for each dead letter that may still be
    stored. `out_of_reach`: places that may still hold the texts.
    """

    request_id: str
    erased_at: str
    dead_letters: int
    sent: list[Sent]
    problems: list[str] = field(default_factory=list)
    out_of_reach: tuple[str, ...] = _REACH

    def document(self) -> dict[str, Any]:
        """Return the result as a dictionary, for `--json`."""
        return asdict(self)


def erase(stack: Stack, requests: Requests, request_id: str) -> Erased:
    """Erase the texts of a request, first marking its record as erased, so that nothing is sent any more.

    If a run fails halfway, the next run completes it. Raises `Failure`, `Unreadable`, `TableUnavailable` and what boto3
    raises.
    """
    now = epoch_ms(utc_now())

    def event(record: Record) -> tuple[Record, bool]:
        after = takes.erase(record, now=now)
        return after or record, after is not None

    try:
        stored, done = requests.change(request_id, event)
    except RequestGone:
        raise Failure(f"request {request_id} has expired: DynamoDB deletes it automatically") from None
    if not done:
        raise Failure(
            f"request {request_id} is still on its way, so nothing was erased: "
            f"'{hints.command('watch', request_id)}' follows it; erase it once it is delivered or has failed"
        )
    requests.erase_texts(request_id, stored.record)
    deleted, problems = _discard_dead_letters(stack, request_id)
    erased_at = timestamp_of(stored.record.erased_at or now)
    return Erased(request_id, erased_at, deleted, _sent(stored.record), problems)


def _discard_dead_letters(stack: Stack, request_id: str) -> tuple[int, list[str]]:
    found = dead_letter_queues.find(stack, stack.dlqs())
    mine = [letter for letter in found.dead_letters if letter.dead_letter.request_id == request_id]
    problems = [f"another reader holds about {found.hidden} dead letters"] if found.hidden else []
    problems += [f"about {found.beyond} more dead letters were not read"] if found.beyond else []
    deleted, discard = 0, dead_letter_queues.discarder(stack)
    for queue in dict.fromkeys(letter.queue for letter in mine):
        ids = frozenset(letter.id for letter in mine if letter.queue == queue)
        outcomes = list(dead_letter_queues.process(stack, queue, ids, discard))
        problems += [f"{each.dead_letter.id}: {each.problem}" for each in outcomes if each.problem]
        done = {each.dead_letter.id for each in outcomes if not each.problem}
        problems += [
            f"{id_}: no longer there, or another reader holds it" for id_ in ids - {e.dead_letter.id for e in outcomes}
        ]
        deleted += len(done)
    return deleted, problems


def _sent(record: Record) -> list[Sent]:
    return [
        Sent(delivery.destination, attempt.place, attempt.result, timestamp_of(attempt.at))
        for delivery in record.deliveries
        for attempt in delivery.attempts
        if attempt.outcome is Outcome.DELIVERED
    ]
