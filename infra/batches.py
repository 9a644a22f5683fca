"""The batch sizes and windows of the functions' event sources, chosen from benchmarks/simulation.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from assistance.routing import DESTINATIONS, Channel, Destination


@dataclass(frozen=True, slots=True)
class Batches:
    """At most so many records, gathered for at most so many seconds.

    Of a queue more than ten take a window: https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
    """

    size: int
    window: int = 0


# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
VISIBILITY_TIMEOUTS: Final = 6


def visibility_timeout(function_timeout: int, batches: Batches) -> int:
    """For how many seconds SQS hides a message from others while a consumer has it."""
    return VISIBILITY_TIMEOUTS * function_timeout + batches.window


# A multiple of ten, so that calls to SNS are full.
STREAM: Final = Batches(size=100)
PARALLELIZATION_FACTOR: Final = 5
"""Batches of one shard in process at once. A new table's four shards then keep up with 1,000 requests a second."""

QUEUES: Final[Mapping[Destination, Batches]] = {
    **dict.fromkeys(DESTINATIONS, Batches(size=10)),
    # About what one message to Slack holds, so that most batches are one post.
    Channel.SLACK: Batches(size=25, window=1),
}
