"""The requests that were accepted since the last sweep. Those that have not ended yet are watched from now on."""

import heapq
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Annotated, Final, NamedTuple, TypeAlias

from pydantic import Field

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.errors import Unreadable
from assistance.ids import RequestId, is_request_id
from assistance.models import Model, Moment
from assistance.platform.clock import ms_of, timestamp
from assistance.platform.observability import logger
from assistance.store import codec, legacy
from assistance.store.items import Item, checked, key_of
from assistance.store.requests import RequestGone
from assistance.store.schema import LEDGER, PARTITION_KEY, RECORD, SORT_KEY
from assistance.store.table import LOOKED_KEY
from reconciler.report import Open
from reconciler.run import Run

# An index lags behind its table, usually by less than a second. This is half a sweep's interval, so that two sweeps
# find a request whose message was dead-lettered at once.
SETTLING: Final = timedelta(seconds=30)
# "In some unlikely failure scenarios, longer propagation delays might occur", and DynamoDB names no bound. A second
# look, this long after the first one, finds the requests that the index did not list in time.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html
SECOND_LOOK: Final = timedelta(minutes=15)
# No request is older, and the second look, which begins `SECOND_LOOK` earlier, still begins in 1970.
_FIRST: Final = timestamp(datetime.fromtimestamp(0, UTC) + SECOND_LOOK)
TIME_TO_FINISH_MS: Final = 10_000
_A_MINUTE: Final = timedelta(minutes=1)
_CHUNK: Final = 100
# They fit into an item.
_MOST_DAMAGED: Final = 1_000
_PARALLEL: Final = 10
# After a rollback, version 1 would find no delivery of the requests that this version has accepted, and publish them
# again. So this version sets the time up to which version 1 believes to have looked, to so many hours ahead. At least
# half of them always remain, in case sweeps fail for three hours.
_LEGACY_AHEAD: Final = timedelta(hours=6)


class _Listed(Model):
    """A request as the index lists it."""

    id: Annotated[RequestId, Field(alias=PARTITION_KEY)]
    created_at: Moment


class _Looked(Model):
    looked_until: Moment | None = None
    until: Moment | None = None
    damaged: tuple[RequestId, ...] = ()


class _Last(NamedTuple):
    """Where the last sweep ended.

    It has looked at the requests accepted before `until`. Version 1 will look at none before `legacy_until`. `damaged`
    are the requests that it could not read. If version 1 has written since, `legacy_until` is empty, and `left_open`
    are the requests that version 1 found open.
    """

    until: str = ""
    legacy_until: str = ""
    left_open: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


_Look: TypeAlias = tuple[str, _Listed]
"""A request, and the time from which `SETTLING` counts: its acceptance, or for a second look `SECOND_LOOK` after it."""


@dataclass(frozen=True, slots=True)
class NewRequests:
    """Looks at each request twice: shortly after it was accepted, and `SECOND_LOOK` later."""

    run: Run

    def take_in(self) -> list[Open]:
        """Look at the requests accepted since the last time, and watch those that have not ended. Returns these."""
        run, report, items = self.run, self.run.report, self.run.requests.items
        last = self._last()
        until, any_new = timestamp(run.clock() - SETTLING), bool(last.left_open)
        # The clock of the last sweep may have been ahead.
        since = max(min(last.until, _earlier(until, _A_MINUTE)), _FIRST)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            # Somebody may have mended an unreadable request, or deleted its record.
            found = list(pool.map(self._watch, {*last.left_open, *last.damaged, *report.damaged}))
            for chunk in _chunks(self._looks(since, until)) if until > since else ():
                if run.remaining_ms() < TIME_TO_FINISH_MS:
                    # The next sweep begins with the first that was left out.
                    (until, _), *_ = chunk
                    report.complete = False
                    report.behind_seconds = max((run.now() - ms_of(until)) // 1_000, 0)
                    break
                any_new = True
                found += pool.map(self._watch, self._to_watch([listed for _, listed in chunk]))
        # Without new requests there is nothing to store.
        looked_until = max(until, since) if any_new else since
        still = sorted(filter(is_request_id, report.damaged))[:_MOST_DAMAGED]
        if (any_new or still != list(last.damaged)) and not run.dry_run:
            items.looked_at(looked_until, still)
        if not run.dry_run and last.legacy_until < timestamp(run.clock() + _LEGACY_AHEAD / 2):
            items.keep_version_1_away(looked_until, timestamp(run.clock() + _LEGACY_AHEAD))
        return [each for each in found if each]

    def _last(self) -> _Last:
        items = self.run.requests.items
        try:
            return self._looked(items.get(LOOKED_KEY) or {}, items.ledger())
        except Unreadable as error:
            self.run.report.unreadable += 1
            logger.error("the ledger can't be read: this sweep looks at every request once more", wrong=str(error))
            return _Last()

    def _looked(self, item: Item, kept: list[Item]) -> _Last:
        own = checked(_Looked, item)
        marked = checked(_Looked, next((item for item in kept if item[SORT_KEY] == LEDGER), {}))
        until, left_open = (marked.looked_until, []) if marked.looked_until else legacy.ledger_of(kept)
        until = own.looked_until or until
        if until > timestamp(self.run.clock()):
            raise Unreadable("a time to come")
        legacy_until = (marked.looked_until and marked.until) or ""
        return _Last(until, legacy_until, tuple(left_open), own.damaged)

    def _looks(self, since: str, until: str) -> Iterator[_Look]:
        """The looks that have come due, in this order. Nobody looks at a request twice in one sweep."""
        accepted, second_since = self.run.requests.items.accepted, _earlier(since, SECOND_LOOK)
        second_until = min(since, _earlier(until, SECOND_LOOK))
        if second_until == since and next(accepted(second_since, _earlier(until)), None) is None:
            # Most sweeps find nothing. One query of each shard tells that.
            return iter(())
        first = self._readable(accepted(since, _earlier(until)))
        second = self._readable(accepted(second_since, _earlier(second_until)))
        return heapq.merge(
            ((one.created_at, one) for one in first),
            ((_earlier(one.created_at, -SECOND_LOOK), one) for one in second),
            key=_due,
        )

    def _readable(self, items: Iterator[Item]) -> Iterator[_Listed]:
        for item in items:
            try:
                yield checked(_Listed, item)
            except Unreadable as error:
                self.run.report.unreadable += 1
                logger.error("an item of the index can't be read", key=key_of(item), wrong=str(error))

    def _to_watch(self, chunk: Sequence[_Listed]) -> list[str]:
        """The requests without a record, and those that have not ended and are not watched yet. Reads cheaply."""
        keys = [{PARTITION_KEY: one.id, SORT_KEY: RECORD} for one in chunk]
        known = set[tuple[str, int]]()
        for item in self.run.requests.items.many(keys, consistent=False):
            try:
                record = codec.record_of(item)
            except Unreadable:
                # It is counted when it is watched.
                continue
            if record.watched or (not record.unfinished and record.has_ended):
                known.add((item[PARTITION_KEY], record.created_at))
        # The record may be that of an earlier request with the same id.
        return [one.id for one in chunk if (one.id, ms_of(one.created_at)) not in known]

    def _watch(self, id_: str) -> Open | None:
        requests = self.run.requests
        try:
            stored = requests.read(id_) if self.run.dry_run else requests.change(id_, _watched)[0]
        except RequestGone:
            return None
        except Unreadable as error:
            self.run.report.unread(id_)
            logger.error("a request can't be read or written", request_id=id_, wrong=str(error))
            return None
        return Open(id_, stored.record) if stored.record.unfinished else None


def _watched(record: Record) -> tuple[Record, None]:
    return transitions.watch(record), None


def _earlier(moment: str, by: timedelta = timedelta(milliseconds=1)) -> str:
    return timestamp(datetime.fromisoformat(moment) - by)


def _due(look: _Look) -> str:
    return look[0]


def _chunks(looks: Iterator[_Look]) -> Iterator[list[_Look]]:
    """Looks in chunks. Those of one moment stay together, so that a chunk can be resumed after."""
    chunk: list[_Look] = []
    for _, together in groupby(looks, key=_due):
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
        chunk += together
    if chunk:
        yield chunk
