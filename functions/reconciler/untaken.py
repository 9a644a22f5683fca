"""Sends each request that nobody has taken in time to its fallback, once.

An index lists the delivered requests by the time until which somebody must take them, so a sweep reads only those whose
time is over.
"""

from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import Final

from assistance.domain import takes
from assistance.domain.record import Record
from assistance.platform.metrics import measure
from assistance.platform.observability import logger
from assistance.store.schema import Due
from reconciler.run import Open, Run

TIME_TO_REPORT_MS: Final = 4_000


def escalate(run: Run, waiting: Iterable[Open]) -> None:
    """Escalate the requests in `waiting` and in the table's index that nobody has taken in time, while time is left."""
    now, seen = run.now(), set[str]()
    for found in chain(waiting, run.records(run.requests.items.due(Due.TO_TAKE, now))):
        if found.id in seen or found.record.decides_at is None or found.record.decides_at > now:
            continue
        seen.add(found.id)
        if run.remaining_ms() < TIME_TO_REPORT_MS:
            run.report.complete = False
            return
        # The index may be outdated. `change` reads the record, and somebody may have taken the request since.
        _, is_untaken = run.change(found, partial(_decided, run, now))
        if is_untaken:
            run.report.untaken.append(found.id)
        if is_untaken and not run.dry_run:
            logger.warning("nobody has taken it in time", request_id=found.id, topic=found.record.topic)


def _decided(run: Run, now: int, record: Record) -> Record:
    after = takes.escalate(record, now=now)
    # Count it before the write. Otherwise, if this sweep dies after the write, nobody would count it: the next sweep
    # finds nothing to decide. The alarm uses the sum of these values.
    if after is not record and not run.dry_run:
        measure("UntakenRequests", service="reconciler")
    return after
