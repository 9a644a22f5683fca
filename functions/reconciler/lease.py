"""The lease that keeps two sweeps apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from assistance.errors import TableUnavailable
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.clock import Clock, epoch_ms, utc_now
from assistance.platform.observability import logger
from assistance.store.schema import PARTITION_KEY, SORT_KEY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

LEASE_KEY = {PARTITION_KEY: "LEASE#reconciler", SORT_KEY: "LEASE"}


@contextmanager
def lease(table: "Table", owner: str, duration: timedelta, *, clock: Clock = utc_now) -> Iterator[bool]:
    """Hold the sweep's lease, if nobody else does: yields whether it is ours. It lasts `duration` at most.

    What lasts for longer than two of them is nobody's, or can't be read. Raises `TableUnavailable`.
    """
    now = clock()
    try:
        table.put_item(
            Item={**LEASE_KEY, "owner": owner, "expires_at": epoch_ms(now + duration)},
            ConditionExpression=f"attribute_not_exists({PARTITION_KEY}) OR NOT attribute_type(expires_at, :number) "
            # Ours already, if the answer to our own write was lost and the SDK repeats it.
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


def _release(table: "Table", owner: str) -> None:
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
        # It ends by itself.
        logger.warning("the lease was not released", error_code=error_code(error))
