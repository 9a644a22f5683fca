"""Publishes what the stream never got published, oldest first, within the time it has."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import islice
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance import aws
from assistance.clock import Clock, utc_now
from assistance.models import OutboxEntry
from assistance.observability import logger
from assistance.publisher import Publisher
from assistance.requests import Item, Requests, outbox_entry_of
from assistance.schema import PARTITION_KEY
from reconciler.settings import settings

# BatchGetItem's limit: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
CHUNK = 100
# One chunk, with every call retried to its limit, and the release of the lease.
TIME_FOR_A_CHUNK_MS = 20_000


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Sweeps the outbox."""

    requests: Requests
    publisher: Publisher
    grace: timedelta
    clock: Clock = utc_now

    def sweep(self, remaining_ms: Callable[[], int]) -> int:
        """Publish what has been unpublished for longer than the grace period. Returns how many were published.

        Stops in time; what is left, the next sweep finds.
        """
        published = 0
        overdue = self.requests.unpublished(before=self.clock() - self.grace)
        while remaining_ms() > TIME_FOR_A_CHUNK_MS and (ids := list(islice(overdue, CHUNK))):
            entries = _readable(self.requests.outbox_entries(ids))
            published += len(entries) - len(self.publisher.publish(entries))
        return published


def _readable(items: list[Item]) -> list[OutboxEntry]:
    entries = []
    for item in items:
        try:
            entries.append(outbox_entry_of(item))
        except (KeyError, TypeError, ValueError):
            logger.error("an outbox entry can't be read", request_id=item[PARTITION_KEY])
    return entries


@cache
def reconciler() -> Reconciler:
    """The reconciler of the deployed table."""
    requests = Requests(aws.table(settings().table_name))
    publisher = Publisher(aws.sns(), settings().topic_arn, requests)
    return Reconciler(requests, publisher, timedelta(seconds=settings().grace_seconds))


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Sweep once, unless a sweep is under way."""
    duration = timedelta(milliseconds=context.get_remaining_time_in_millis())
    with reconciler().requests.lease(context.aws_request_id, duration) as ours:
        if not ours:
            logger.warning("another sweep is under way")
            return {"published": 0}
        published = reconciler().sweep(context.get_remaining_time_in_millis)
        if published:
            logger.warning("published what the stream had not", published=published)
        return {"published": published}
