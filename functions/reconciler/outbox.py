"""Publishes what the stream never got published, oldest first, within the time it has."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from assistance.clock import Clock, timestamp, utc_now
from assistance.errors import Unreadable
from assistance.items import Item, key_of, outbox_entry_of
from assistance.models import OutboxEntry
from assistance.observability import logger
from assistance.publisher import Publisher
from assistance.requests import Requests

# BatchGetItem's limit: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
CHUNK: Final = 100
# One chunk, with every call retried to its limit, and the release of the lease.
TIME_FOR_A_CHUNK_MS: Final = 20_000


@dataclass(slots=True)
class Sweep:
    """What a sweep has done, or in a dry run would do. `oldest_seconds` is the age of the oldest entry it has met.

    `unreadable` counts the entries that could not be read.
    """

    published: int = 0
    failed: int = 0
    unreadable: int = 0
    oldest_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Outbox:
    """Sweeps the outbox."""

    requests: Requests
    publisher: Publisher
    grace: timedelta
    clock: Clock = utc_now

    def sweep(self, remaining_ms: Callable[[], int], *, dry_run: bool = False) -> Sweep:
        """Publish what has been unpublished for longer than the grace period. Raises `TableUnavailable`.

        Stops in time; what is left, the next sweep finds.
        """
        sweep = Sweep()
        before = self.clock() - self.grace
        overdue = self.requests.unpublished(before=before)
        while remaining_ms() > TIME_FOR_A_CHUNK_MS and (keys := list(islice(overdue, CHUNK))):
            items = self.requests.outbox_entries(keys)
            readable = _readable(items)
            entries = [entry for entry in readable if entry.entered_at < timestamp(before)]
            for entry in entries:
                age = self.clock() - datetime.fromisoformat(entry.entered_at)
                sweep.oldest_seconds = max(sweep.oldest_seconds, int(age.total_seconds()))
            failed = set[OutboxEntry]() if dry_run else self.publisher.publish(entries)
            sweep.unreadable += len(items) - len(readable)
            sweep.failed += len(failed)
            sweep.published += len(entries) - len(failed)
        return sweep


def _readable(items: list[Item]) -> list[OutboxEntry]:
    entries = []
    for item in items:
        try:
            entries.append(outbox_entry_of(item))
        except Unreadable as error:
            logger.error("an outbox entry can't be read", key=key_of(item), wrong=str(error))
    return entries
