"""A request whose message lies in a dead-letter queue reads `failed`, whoever moved the message there."""

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from assistance.domain import transitions
from assistance.domain.record import Kind, Record
from assistance.engine import dead_letters
from assistance.engine.dead_letters import DeadLetter
from assistance.errors import Unreadable
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.clock import Clock, epoch_ms, utc_now
from assistance.platform.observability import logger
from assistance.routing import Channel
from assistance.store.requests import RequestGone, Requests
from reconciler.report import Open, Report
from reconciler.settings import ChannelQueues

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Of a queue, in one look.
MOST_LETTERS: Final = 10_000
# To receive it and to let go of it, in 512 MB: 2.8 were measured.
MS_PER_LETTER: Final = 3
TIME_TO_PLACE_MS: Final = 6_000
# What our clock and SQS's may differ by.
_CLOCKS_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Reads the channels' dead-letter queues."""

    requests: Requests
    sqs: "SQSClient"
    queues: Mapping[Channel, ChannelQueues]
    clock: Clock = utc_now

    def find(
        self, waiting: MutableMapping[str, Open], report: Report, remaining_ms: Callable[[], int], *, dry_run: bool
    ) -> tuple[set[str], Counter[str]]:
        """Mark the requests as failed whose messages lie in a dead-letter queue. `waiting`: the open requests, by id.

        Updates `waiting` with the result. Returns the channels whose dead letters it has not all read, and how many it
        has read, by channel.
        """
        unread, read = set[str](), Counter[str]()
        wanted = {delivery.destination for found in waiting.values() for delivery in found.record.unfinished}
        for channel in wanted & self.queues.keys():
            letters, complete = self._letters(Channel(channel), remaining_ms)
            read[channel] = len(letters)
            if not complete:
                unread.add(channel)
            for letter in letters:
                found = waiting.get(letter.request_id or "")
                if found is None or 0 < letter.sent_at < found.record.created_at - _CLOCKS_MS:
                    # The request is not open; or the dead letter is of an earlier request with the same id.
                    continue
                if remaining_ms() < TIME_TO_PLACE_MS:
                    # The next sweep goes on with what still is open.
                    unread.add(channel)
                    report.complete = False
                    break
                for name in _meant(found.record, channel, letter):
                    waiting[found.id] = Open(found.id, self._failed(found, name, letter, report, dry_run=dry_run))
        return unread, read

    def _failed(self, found: Open, name: str, letter: DeadLetter, report: Report, *, dry_run: bool) -> Record:
        now = epoch_ms(self.clock())
        change = partial(_dead_lettered, name=name, letter=letter, now=now)
        try:
            if dry_run:
                record, changed = change(found.record)
            else:
                stored, changed = self.requests.change(found.id, change)
                record = stored.record
        except RequestGone:
            return found.record
        except Unreadable as error:
            report.unreadable += 1
            logger.error("a request can't be read or written", request_id=found.id, wrong=str(error))
            return found.record
        if changed:
            report.dead_lettered.append(found.id)
            logger.error("found in a dead-letter queue", request_id=found.id, delivery=name, error_code=letter.reason)
        return record

    def _letters(self, channel: Channel, remaining_ms: Callable[[], int]) -> tuple[list[DeadLetter], bool]:
        """The channel's dead letters, and whether these are all.

        They are visible again by now: what is done about them may fail.
        """
        found, complete = list[DeadLetter](), True
        for url in self.queues[channel].dlqs:
            try:
                depth = dead_letters.depth(self.sqs, url)
                # Somebody else looks, or was killed while looking: what they hold is not seen.
                complete = complete and not depth.in_flight
                began = remaining_ms()
                limit = min(MOST_LETTERS, (began - TIME_TO_PLACE_MS) // MS_PER_LETTER)
                if depth.total and limit > 0:
                    with dead_letters.looking(self.sqs, url, limit=limit, bodies=False) as letters:
                        found += letters
                        # What is held for too long comes again before the others.
                        in_time = began - remaining_ms() < dead_letters.LOOK_SECONDS * 1_000
                        complete = complete and in_time and len(letters) < limit
                elif depth.total:
                    complete = False
            except AWS_ERRORS as error:
                complete = False
                logger.warning("a dead-letter queue can't be read", channel=channel, error_code=error_code(error))
        return found, complete


def _meant(record: Record, channel: str, letter: DeadLetter) -> list[str]:
    """The deliveries to which a dead letter may belong: the one that it names, or else the request's own."""
    here = [delivery for delivery in record.unfinished if delivery.destination == channel]
    if letter.delivery:
        return [delivery.name for delivery in here if delivery.name == letter.delivery]
    return [delivery.name for delivery in here if delivery.kind in {Kind.OWN, Kind.FALLBACK}]


def _dead_lettered(record: Record, name: str, letter: DeadLetter, now: int) -> tuple[Record, bool]:
    after = transitions.dead_lettered(record, name, letter.message_id, letter.reason, now=now)
    return after, after is not record
