"""Finds requests whose messages are in a dead-letter queue, whoever put them there, and marks them as failed."""

from collections.abc import MutableMapping
from functools import partial
from typing import Final

from assistance.domain import transitions
from assistance.domain.record import Delivery, Kind, Record
from assistance.engine import dead_letters
from assistance.engine.dead_letters import DeadLetter
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.observability import logger
from assistance.routing import CALLBACK
from reconciler.run import Open, Run

# How many dead letters a sweep reads at most from one queue.
MOST_LETTERS: Final = 10_000
# The time to receive a dead letter and make it visible again, with 512 MB of memory. Measured: 2.8 ms.
MS_PER_LETTER: Final = 3
TIME_TO_LOCATE_MS: Final = 6_000
# By how much our clock and SQS's may differ.
_CLOCKS_MS: Final = 60_000


def find(run: Run, waiting: MutableMapping[str, Open]) -> None:
    """Record the deliveries of dead letters as failed, in the table and in `waiting`: the unfinished requests by id."""
    awaited = ((found.record, each) for found in waiting.values() for each in found.record.awaited)
    # Look for a callback only if it is late: its message may be lost, or in a dead-letter queue.
    wanted = {it.destination for record, it in awaited if it.kind is not Kind.CALLBACK or run.is_overdue(record, it)}
    # While a bot is down, thousands of its callbacks become dead letters. So read those last.
    for channel in sorted(wanted & run.queues.keys(), key=lambda each: each == CALLBACK):
        for letter in _letters(run, channel):
            found = waiting.get(letter.request_id or "")
            if found is None or _is_from_before(letter, found.record.created_at):
                # The request is finished, or the dead letter belongs to an earlier request with the same id.
                continue
            if run.remaining_ms() < TIME_TO_LOCATE_MS:
                # The next sweep continues with the requests that are still unfinished.
                run.letters.pop(channel, None)
                run.report.complete = False
                break
            for name in _deliveries_of(found.record, channel, letter):
                waiting[found.id] = _failed(run, found, name, letter)


def _failed(run: Run, found: Open, name: str, letter: DeadLetter) -> Open:
    event = partial(transitions.dead_lettered, name=name, letter=letter.message_id, code=letter.reason, now=run.now())
    record, changed = run.change(found, event)
    if changed:
        run.report.dead_lettered.append(found.id)
        logger.error("found in a dead-letter queue", request_id=found.id, delivery=name, error_code=letter.reason)
    return Open(found.id, record)


def _letters(run: Run, channel: str) -> list[DeadLetter]:
    """The channel's dead letters. If these are all of them, their number is kept in `run.letters`."""
    found, complete = list[DeadLetter](), True
    for url in run.queues[channel].dlqs:
        try:
            depth = dead_letters.depth(run.sqs, url)
            # Dead letters in flight can't be received: another reader holds them, or was killed while it did.
            complete = complete and not depth.in_flight
            began = run.remaining_ms()
            limit = min(MOST_LETTERS, (began - TIME_TO_LOCATE_MS) // MS_PER_LETTER)
            if depth.total:
                with dead_letters.reading(run.sqs, url, limit=limit, bodies=False) as letters:
                    found += letters
                    # After `READ_SECONDS` the first ones become visible, and SQS returns them instead of others.
                    in_time = began - run.remaining_ms() < dead_letters.READ_SECONDS * 1_000
                    complete = complete and in_time and len(letters) < limit
        except AWS_ERRORS as error:
            complete = False
            logger.warning("a dead-letter queue can't be read", channel=channel, error_code=error_code(error))
    if complete:
        run.letters[channel] = len(found)
    return found


def _deliveries_of(record: Record, channel: str, letter: DeadLetter) -> list[str]:
    """Names of the deliveries that a letter may be of: the one it names, else the channel's own and the fallback."""
    here = [each for each in record.awaited if each.destination == channel and not _is_newer(each, letter)]
    if letter.delivery:
        return [delivery.name for delivery in here if delivery.name == letter.delivery]
    return [delivery.name for delivery in here if delivery.kind in {Kind.OWN, Kind.FALLBACK}]


def _is_newer(delivery: Delivery, letter: DeadLetter) -> bool:
    """Whether the delivery was cancelled and is needed again since that letter, so another message of it was sent."""
    can_return = delivery.kind in {Kind.FALLBACK, Kind.ESCALATION}
    return can_return and _is_from_before(letter, delivery.wanted_since)


def _is_from_before(letter: DeadLetter, time: int) -> bool:
    """Whether the letter was sent before that time (milliseconds since 1970), by any of the clocks."""
    return 0 < letter.sent_at < time - _CLOCKS_MS
