"""Once a minute: publish the requests that the stream has missed, and check every unfinished request."""

from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance.engine.publisher import Publisher
from assistance.errors import TableUnavailable
from assistance.platform import aws
from assistance.platform.metrics import Metric, Tally
from assistance.platform.observability import logger
from assistance.platform.unforeseen import without_messages
from assistance.routing import CALLBACK
from assistance.store.requests import deployed
from reconciler import dead_letters, new_requests, open_requests, untaken
from reconciler.outbox import Sweep, publish_late
from reconciler.run import Report, Run
from reconciler.settings import Settings

requests = cache(lambda: deployed(Settings.read().table_name))

publisher = cache(lambda: Publisher(aws.when_used(aws.sns), Settings.read().topic_arn, requests()))
sqs = cache(lambda: aws.when_used(aws.sqs))


def check_requests(sweep: Sweep, remaining_ms: Callable[[], int], *, dry_run: bool) -> Report:
    """Check new and other unfinished requests and dead letters, after the outbox `sweep`. Raises `TableUnavailable`."""
    overdue = timedelta(seconds=Settings.read().overdue_seconds)
    run = Run(requests(), sqs(), Settings.read().queues, overdue, remaining_ms, dry_run, sweep.left)
    waiting = {found.id: found for found in (*open_requests.watched(run), *new_requests.check(run))}
    dead_letters.find(run, waiting)
    for found in waiting.values():
        if found.record.awaited:
            open_requests.locate(run, found)
    if Settings.read().take:
        untaken.escalate(run, waiting.values())
    return run.report


def reconcile(context: LambdaContext, *, dry_run: bool) -> dict[str, Any]:
    """Publish late outbox entries, then check unfinished requests. Returns both results. `dry_run` changes nothing."""
    grace, remaining_ms = timedelta(seconds=Settings.read().grace_seconds), context.get_remaining_time_in_millis
    sweep = publish_late(publisher(), grace, remaining_ms, dry_run=dry_run)
    report = check_requests(sweep, remaining_ms, dry_run=dry_run)
    if not dry_run:
        measure(sweep, report)
    if sweep.published or report.lost or report.stuck or report.dead_lettered:
        logger.warning(
            "repaired unfinished requests", sweep=sweep.document(), places=dict(report.places), dry_run=dry_run
        )
    return {"outbox": sweep.document(), "ledger": report.document(), "dry_run": dry_run}


def measure(sweep: Sweep, report: Report) -> None:
    """Emit the metrics that infra/monitoring.py uses."""
    tally = Tally()
    add = partial(tally.add, service="reconciler")
    add("OldestUnpublishedAge", sweep.oldest_seconds)
    add("PublishedLate", sweep.published)
    add("OldestOpenAge", report.oldest_open_seconds)
    add("OpenRequests", report.open)
    add("LostRequests", len(report.lost))
    add("StuckDeliveries", len(report.stuck))
    add("UnreadableItems", sweep.unreadable + report.unreadable)
    add("LedgerBehind", report.behind_seconds)
    if Settings.read().take:
        # `untaken.py` has added each one before it wrote the decision.
        add("UntakenRequests", 0)
    # SQS's own metric covers callbacks, of which most are sent before a sweep looks for them.
    for channel in Settings.read().queues.keys() - {CALLBACK}:
        tally.add(Metric.OLDEST_PENDING_AGE, report.oldest_pending_seconds[channel], channel=channel)
    tally.emit()


@logger.inject_lambda_context(log_event=False)
@without_messages(TableUnavailable)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run one sweep. With `{"dry_run": true}`, only return what it would do."""
    return reconcile(context, dry_run=bool(event.get("dry_run")))
