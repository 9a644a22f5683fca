"""The state that the parts of the reconciler share during one run."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from assistance.domain.record import Record
from assistance.errors import Unreadable
from assistance.platform.clock import Clock, epoch_ms, utc_now
from assistance.platform.observability import logger
from assistance.store import codec
from assistance.store.items import Item, key_of
from assistance.store.requests import RequestGone, Requests
from assistance.store.schema import PARTITION_KEY
from reconciler.report import Open, Report


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what it has found so far, and how much time is left. A dry run writes nothing."""

    requests: Requests
    remaining_ms: Callable[[], int]  # how long the function may still run
    dry_run: bool
    unpublished: set[str] = field(default_factory=set)  # the ids of the requests whose messages are in the outbox
    clock: Clock = utc_now
    report: Report = field(default_factory=Report)
    unread: set[str] = field(default_factory=set)  # channels with unread dead letters: no message there counts as lost
    letters: Counter[str] = field(default_factory=Counter)  # how many dead letters were read, by channel
    empty: dict[str, bool] = field(default_factory=dict)  # by channel, whether its queue is empty, if that was checked

    def now(self) -> int:
        """The time now, in milliseconds since 1970."""
        return epoch_ms(self.clock())

    def records(self, items: Iterable[Item]) -> Iterator[Open]:
        """The requests of these record items. Counts and logs each record that can't be read."""
        for item in items:
            try:
                yield Open(str(item[PARTITION_KEY]), codec.record_of(item))
            except Unreadable as error:
                self.report.unread(str(item[PARTITION_KEY]))
                logger.error("a record can't be read", key=key_of(item), wrong=str(error))

    def change(self, found: Open, event: Callable[[Record], Record]) -> tuple[Record, bool]:
        """Apply an event, and write its record unless in a dry run. Returns it, and whether the event changed it."""

        def changed(record: Record) -> tuple[Record, bool]:
            after = event(record)
            return after, after is not record

        try:
            if self.dry_run:
                return changed(found.record)
            stored, has_changed = self.requests.change(found.id, changed)
        except RequestGone:
            return found.record, False
        except Unreadable as error:
            self.report.unreadable += 1
            logger.error("a request can't be read or written", request_id=found.id, wrong=str(error))
            return found.record, False
        return stored.record, has_changed
