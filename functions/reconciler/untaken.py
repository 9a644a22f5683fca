"""The requests that nobody has taken in time: each goes to its fallback, once.

An index lists those that a channel has delivered, by when it is to be decided: a sweep reads only what is due.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from assistance.domain import takes
from assistance.domain.record import Record
from assistance.errors import Unreadable
from assistance.platform.clock import Clock, epoch_ms, utc_now
from assistance.platform.observability import logger
from assistance.store import codec
from assistance.store.items import key_of
from assistance.store.requests import RequestGone, Requests
from assistance.store.schema import PARTITION_KEY
from reconciler.report import Open, Report

TIME_TO_REPORT_MS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Untaken:
    """Escalates what is due."""

    requests: Requests
    clock: Clock = utc_now

    def escalate(
        self, waiting: Iterable[Open], report: Report, remaining_ms: Callable[[], int], *, dry_run: bool
    ) -> None:
        """Escalate what the index lists, and those of the watched requests that are due. Stops in time."""
        now, seen = epoch_ms(self.clock()), set()
        for found in (*waiting, *self._listed(now, report)):
            if found.id in seen or found.record.decides_at is None or found.record.decides_at > now:
                continue
            seen.add(found.id)
            if remaining_ms() < TIME_TO_REPORT_MS:
                report.complete = False
                return
            self._escalate(found, now, report, dry_run=dry_run)

    def _escalate(self, found: Open, now: int, report: Report, *, dry_run: bool) -> None:
        # What the index lists may be old: somebody may have taken it.
        change = partial(_escalated, now=now)
        try:
            is_untaken = change(found.record)[1] if dry_run else self.requests.change(found.id, change)[1]
        except RequestGone:
            return
        except Unreadable as error:
            report.unreadable += 1
            logger.error("a request can't be read", request_id=found.id, wrong=str(error))
            return
        if is_untaken:
            report.untaken.append(found.id)
            if not dry_run:
                logger.warning("nobody has taken it in time", request_id=found.id, topic=found.record.topic)

    def _listed(self, now: int, report: Report) -> Iterator[Open]:
        for item in self.requests.items.undecided(now):
            try:
                yield Open(str(item[PARTITION_KEY]), codec.record_of(item))
            except Unreadable as error:
                report.unreadable += 1
                logger.error("a record can't be read", key=key_of(item), wrong=str(error))


def _escalated(record: Record, now: int) -> tuple[Record, bool]:
    after = takes.escalate(record, now=now)
    return after, after is not record
