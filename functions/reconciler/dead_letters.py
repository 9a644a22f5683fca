"""A request whose message lies in a dead-letter queue reads `failed`, whoever moved the message there."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from assistance.domain import transitions
from assistance.domain.record import Kind, Record
from assistance.engine import dead_letters
from assistance.engine.dead_letters import DeadLetter
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.observability import logger
from assistance.routing import Channel
from reconciler.report import Open
from reconciler.run import Run
from reconciler.settings import ChannelQueues

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# The most dead letters that a sweep reads of one queue.
MOST_LETTERS: Final = 10_000
# The time to receive one and make it visible again, with 512 MB of memory: 2.8 were measured.
MS_PER_LETTER: Final = 3
TIME_TO_PLACE_MS: Final = 6_000
# The most by which our clock and that of SQS may differ.
_CLOCKS_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Reads the channels' dead-letter queues."""

    run: Run
    sqs: "SQSClient"
    queues: Mapping[Channel, ChannelQueues]

    def find(self, waiting: MutableMapping[str, Open]) -> None:
        """Mark the requests as failed whose messages lie in a dead-letter queue. `waiting`: the open requests, by id.

        Updates `waiting` with the result.
        """
        run = self.run
        wanted = {delivery.destination for found in waiting.values() for delivery in found.record.unfinished}
        for channel in wanted & self.queues.keys():
            letters, complete = self._letters(Channel(channel))
            run.letters[channel] = len(letters)
            if not complete:
                run.unread.add(channel)
            for letter in letters:
                found = waiting.get(letter.request_id or "")
                if found is None or 0 < letter.sent_at < found.record.created_at - _CLOCKS_MS:
                    # The request is not open; or the dead letter is of an earlier request with the same id.
                    continue
                if run.remaining_ms() < TIME_TO_PLACE_MS:
                    # The next sweep goes on with what still is open.
                    run.unread.add(channel)
                    run.report.complete = False
                    break
                for name in _meant(found.record, channel, letter):
                    waiting[found.id] = self._failed(found, name, letter)

    def _failed(self, found: Open, name: str, letter: DeadLetter) -> Open:
        event = partial(
            transitions.dead_lettered, name=name, letter=letter.message_id, code=letter.reason, now=self.run.now()
        )
        record, changed = self.run.change(found, event)
        if changed:
            self.run.report.dead_lettered.append(found.id)
            logger.error("found in a dead-letter queue", request_id=found.id, delivery=name, error_code=letter.reason)
        return Open(found.id, record)

    def _letters(self, channel: Channel) -> tuple[list[DeadLetter], bool]:
        """The channel's dead letters, and whether these are all.

        They are visible again by now, because acting on them may fail.
        """
        found, complete = list[DeadLetter](), True
        for url in self.queues[channel].dlqs:
            try:
                depth = dead_letters.depth(self.sqs, url)
                # Another reader holds some of them, or was killed while it did: those can't be received.
                complete = complete and not depth.in_flight
                began = self.run.remaining_ms()
                limit = min(MOST_LETTERS, (began - TIME_TO_PLACE_MS) // MS_PER_LETTER)
                if depth.total and limit > 0:
                    with dead_letters.looking(self.sqs, url, limit=limit, bodies=False) as letters:
                        found += letters
                        # Those that are held for too long become visible, and come again before the others.
                        in_time = began - self.run.remaining_ms() < dead_letters.LOOK_SECONDS * 1_000
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
