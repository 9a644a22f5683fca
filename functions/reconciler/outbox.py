"""Publishes the outbox entries that the stream producer has not published, oldest first, as long as there is time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from assistance.engine.outbox import Outboxed
from assistance.engine.publisher import Publisher
from assistance.errors import Unreadable
from assistance.platform.clock import timestamp, utc_now
from assistance.platform.observability import logger
from assistance.store.items import Item, key_of
from assistance.store.schema import OUTBOX_SHARD
from assistance.store.table import BATCH
from reconciler import new_requests

# The longest time for one chunk, if every call is retried as often as possible.
TIME_FOR_A_CHUNK_MS: Final = 20_000


@dataclass(slots=True)
class Sweep:
    """What one sweep of the outbox has published, or a dry run would publish."""

    published: int = 0  # messages
    failed: int = 0  # messages
    unreadable: int = 0  # items
    oldest_seconds: int = 0  # the age of the oldest entry
    left: set[str] = field(default_factory=set)  # the ids of the requests of which something is still in the outbox

    def document(self) -> dict[str, int]:
        """The counts, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "left"}


def publish_late(
    publisher: Publisher, grace: timedelta, remaining_ms: Callable[[], int], *, dry_run: bool = False
) -> Sweep:
    """Publish the outbox entries older than `grace`, as long as there is time. Raises `TableUnavailable`.

    `grace`: how long an entry is left to the stream producer.
    """
    sweep, now, items = Sweep(), utc_now(), publisher.requests.items
    before = timestamp(now - grace)
    overdue = map(key_of, items.unpublished(before))
    while remaining_ms() > TIME_FOR_A_CHUNK_MS and (keys := list(islice(overdue, BATCH))):
        # The index lags behind its table, so it may list items that have been published since.
        found = [item for item in items.many(keys, consistent=True) if OUTBOX_SHARD in item]
        chunk = list(_readable(publisher, found, before, timestamp(now), sweep))
        wanted = {each for item in chunk for each in item.publications}
        for each in wanted:
            age = utc_now() - datetime.fromisoformat(each.since)
            sweep.oldest_seconds = max(sweep.oldest_seconds, int(age.total_seconds()))
        failed = set() if dry_run else publisher.publish(chunk, checked_until=new_requests.checked_until(items))
        sweep.left |= {each.message.request.id for each in (wanted if dry_run else failed)}
        sweep.failed += len(failed)
        sweep.published += len(wanted) - len(failed)
    return sweep


def _readable(publisher: Publisher, items: list[Item], before: str, now: str, sweep: Sweep) -> Iterator[Outboxed]:
    """Yield items with entries from before `before` or (fast clock) after `now`. `sweep` counts unreadable ones."""
    for item in items:
        try:
            found = publisher.read(item)
        except Unreadable as error:
            sweep.unreadable += 1
            logger.error("an outbox entry can't be read", key=key_of(item), wrong=str(error))
            continue
        overdue = tuple(each for each in found.publications if not before <= each.since <= now)
        if overdue:
            yield replace(found, publications=overdue)
