"""The batch sizes and windows of the functions' event sources, chosen from benchmarks/simulation.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from assistance.routing import DESTINATIONS, Channel, Destination


@dataclass(frozen=True, slots=True)
class Batches:
    """An event source's batches: at most `size` records, which Lambda collects for at most `window` seconds.

    For a queue, a size above ten needs a window of at least a second:
    https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
    """

    size: int
    window: int = 0


# AWS recommends a visibility timeout of six function timeouts:
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
VISIBILITY_TIMEOUTS: Final = 6


def visibility_timeout(function_timeout: int, batches: Batches) -> int:
    """The queue's visibility timeout in seconds: how long SQS hides a message that a consumer has received."""
    return VISIBILITY_TIMEOUTS * function_timeout + batches.window


# A multiple of ten, because one call to SNS can publish ten messages.
STREAM: Final = Batches(size=100)
PARALLELIZATION_FACTOR: Final = 5
"""How many batches of one shard Lambda processes at once. With a new table's four shards, that is enough for 1,000
requests a second."""
NEW_TABLE_SHARDS: Final = 4
"""The shards that we assume in a new table's stream: one for each 1,000 of its 4,000 write units a second.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html"""

QUEUES: Final[Mapping[Destination, Batches]] = {
    **dict.fromkeys(DESTINATIONS, Batches(size=10)),
    # About as many requests as fit into one message to Slack, so that most batches need one call.
    Channel.SLACK: Batches(size=25, window=1),
}
