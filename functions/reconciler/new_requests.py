"""Checks the requests that were accepted since the last sweep. From now on, the reconciler watches unfinished ones."""

import heapq
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from assistance.domain import transitions
from assistance.errors import Unreadable
from assistance.ids import RequestId, is_request_id
from assistance.models import Model, Moment
from assistance.platform.clock import ms_of, timestamp
from assistance.platform.observability import logger
from assistance.store import legacy
from assistance.store.items import Item, checked, key_of
from assistance.store.requests import record_key
from assistance.store.schema import LEDGER, PARTITION_KEY
from assistance.store.table import PROGRESS_KEY, Items
from reconciler.run import Open, Run

# An index lags behind its table, usually by less than a second. This is half the interval of sweeps, so that a request
# whose message went to a dead-letter queue immediately is found within two sweeps.
FIRST_CHECK_AFTER: Final = timedelta(seconds=30)
# "In some unlikely failure scenarios, longer propagation delays might occur", and DynamoDB documents no limit. A second
# check, this long after the first one, finds the requests that the index did not list in time.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html
SECOND_CHECK_AFTER: Final = timedelta(minutes=15)
# No request is older than this. Second checks begin `SECOND_CHECK_AFTER` earlier: then in 1970, and not before.
_EARLIEST: Final = timestamp(datetime.fromtimestamp(0, UTC) + SECOND_CHECK_AFTER)
TIME_TO_FINISH_MS: Final = 10_000
_CHUNK: Final = 100
# So many ids fit into an item.
_MOST_DAMAGED: Final = 1_000
_PARALLEL: Final = 10


class _Listed(Model):
    """A request as the index of accepted requests lists it."""

    id: Annotated[RequestId, Field(alias=PARTITION_KEY)]
    created_at: Moment


class _Progress(Model):
    """The progress that the last sweep has stored."""

    looked_until: Moment | None = None  # it has checked the requests that were accepted before this time
    damaged: tuple[RequestId, ...] = ()  # the requests that could not be read


class _Check(NamedTuple):
    """One of the two checks of a new request. It is due `FIRST_CHECK_AFTER` (30 seconds) after `since`."""

    since: str  # the request's acceptance, or for the second check `SECOND_CHECK_AFTER` later
    id: str
    created_at: str


def check(run: Run) -> list[Open]:
    """Make each new request's first or second check if it is due. Watches the unfinished requests, and returns them."""
    report, items, (last, of_version_1) = run.report, run.requests.items, _last(run)
    until, any_new = timestamp(run.clock() - FIRST_CHECK_AFTER), bool(of_version_1.open)
    # If the clock of the last sweep was fast, its time is too late. So check at least the last minute.
    last_until = last.looked_until or of_version_1.until
    since = max(min(last_until, _earlier(until, timedelta(minutes=1))), _EARLIEST)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        # Also check the unreadable requests again: an operator may have repaired one, or deleted its record.
        found = list(pool.map(partial(_watch, run), {*of_version_1.open, *last.damaged, *report.damaged}))
        checks = _checks(run, since, until) if until > since else iter(())
        while chunk := list(islice(checks, _CHUNK)):
            if run.remaining_ms() < TIME_TO_FINISH_MS:
                # The next sweep begins with the first request that was not checked, and others of the same time.
                until = chunk[0].since
                report.complete = False
                report.behind_seconds = max(report.behind_seconds, run.age(ms_of(until)))
                break
            any_new = True
            found += pool.map(partial(_watch, run), _to_watch(run, chunk))
    # Without new requests there is nothing to store.
    checked_until = max(until, since) if any_new else since
    still = sorted(filter(is_request_id, report.damaged))[:_MOST_DAMAGED]
    if (any_new or still != list(last.damaged)) and not run.dry_run:
        items.put({**PROGRESS_KEY, "looked_until": checked_until, "damaged": still})
    if not run.dry_run:
        legacy.stay_ahead(items, of_version_1, checked_until, run.clock())
    return [each for each in found if each]


def checked_until(items: Items) -> str:
    """Both checks are over for the requests that were accepted before this time. Raises `TableUnavailable`."""
    try:
        last, of_version_1 = _progress(items)
    except Unreadable:
        # This sweep checks every request again.
        return ""
    until = last.looked_until or of_version_1.until
    return until and _earlier(until, SECOND_CHECK_AFTER)


def _progress(items: Items) -> tuple[_Progress, legacy.Ledger]:
    return checked(_Progress, items.get(PROGRESS_KEY) or {}), legacy.ledger_of(items.of(LEDGER))


def _last(run: Run) -> tuple[_Progress, legacy.Ledger]:
    try:
        last, of_version_1 = _progress(run.requests.items)
    except Unreadable as error:
        wrong = str(error)
    else:
        if (last.looked_until or of_version_1.until) <= timestamp(run.clock()):
            return last, of_version_1
        wrong = "a time to come"
    run.report.unreadable += 1
    logger.error("the ledger can't be read: this sweep checks every request again", wrong=wrong)
    return _Progress(), legacy.Ledger()


def _checks(run: Run, since: str, until: str) -> Iterator[_Check]:
    """The checks that became due between `since` and `until`, earliest first. No request comes twice."""
    accepted, second_since = run.requests.items.accepted, _earlier(since, SECOND_CHECK_AFTER)
    second_until = min(since, _earlier(until, SECOND_CHECK_AFTER))
    if second_until == since and next(accepted(second_since, _earlier(until)), None) is None:
        # Most sweeps find nothing, and one query of each shard shows that.
        return iter(())
    first = _of_listed(run, accepted(since, _earlier(until)), timedelta())
    second = _of_listed(run, accepted(second_since, _earlier(second_until)), SECOND_CHECK_AFTER)
    return heapq.merge(first, second)


def _of_listed(run: Run, items: Iterator[Item], later: timedelta) -> Iterator[_Check]:
    for item in items:
        try:
            listed = checked(_Listed, item)
        except Unreadable as error:
            run.report.unreadable += 1
            logger.error("an item of the index can't be read", key=key_of(item), wrong=str(error))
        else:
            yield _Check(_earlier(listed.created_at, -later), listed.id, listed.created_at)


def _to_watch(run: Run, chunk: list[_Check]) -> list[str]:
    """The ids of the requests that have no record, or are unfinished and not watched yet."""
    keys = [record_key(one.id) for one in chunk]
    # Eventually consistent reads cost half as much. `_watch` reads consistently.
    found = run.records(run.requests.items.many(keys, consistent=False))
    known = {(each.id, each.record.created_at) for each in found if each.record.watched or not each.record.awaited}
    # The record may be that of an earlier request with the same id.
    return [one.id for one in chunk if (one.id, ms_of(one.created_at)) not in known]


def _watch(run: Run, id_: str) -> Open | None:
    requests = run.requests
    with run.skipping_unreadable(id_):
        stored = requests.read(id_) if run.dry_run else requests.update(id_, transitions.watch)
        return Open(id_, stored.record) if stored.record.awaited else None
    return None


def _earlier(moment: str, by: timedelta = timedelta(milliseconds=1)) -> str:
    return timestamp(datetime.fromisoformat(moment) - by)
