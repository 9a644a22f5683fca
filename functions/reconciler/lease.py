"""The lease that ensures that only one sweep runs at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from assistance.errors import TableUnavailable
from assistance.platform.aws import AWS_ERRORS, Table, error_code
from assistance.platform.clock import Clock, epoch_ms, utc_now
from assistance.platform.observability import logger
from assistance.store.schema import PARTITION_KEY, SORT_KEY

LEASE_KEY = {PARTITION_KEY: "LEASE#reconciler", SORT_KEY: "LEASE"}


@contextmanager
def lease(table: Table, owner: str, duration: timedelta, *, clock: Clock = utc_now) -> Iterator[bool]:
    """Hold the lease for `duration` at most, if no other sweep holds it. Yields whether this sweep holds it.

    A stored lease that ends later than in twice `duration`, or can't be read, is replaced. Raises `TableUnavailable`.
    """
    now = clock()
    try:
        table.put_item(
            Item={**LEASE_KEY, "owner": owner, "expires_at": epoch_ms(now + duration)},
            ConditionExpression=f"attribute_not_exists({PARTITION_KEY}) OR NOT attribute_type(expires_at, :number) "
            # The owner is this sweep if the answer to its own write was lost, and the SDK has repeated the write.
            "OR NOT expires_at BETWEEN :now AND :longest OR #owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={
                ":owner": owner,
                ":number": "N",
                ":now": epoch_ms(now),
                ":longest": epoch_ms(now + 2 * duration),
            },
        )
    except table.meta.client.exceptions.ConditionalCheckFailedException:
        yield False
        return
    except AWS_ERRORS as error:
        raise TableUnavailable(error_code(error)) from error
    try:
        yield True
    finally:
        _release(table, owner)


def _release(table: Table, owner: str) -> None:
    try:
        table.delete_item(
            Key=LEASE_KEY,
            ConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": owner},
        )
    except table.meta.client.exceptions.ConditionalCheckFailedException:
        logger.warning("the lease had already passed to another sweep")
    except AWS_ERRORS as error:
        # The lease expires by itself.
        logger.warning("the lease was not released", error_code=error_code(error))
