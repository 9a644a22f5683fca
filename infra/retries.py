"""The retry policies of the destinations, which the consumers get as settings, and the longest waits that result."""

from collections.abc import Mapping
from typing import Final

from assistance.routing import CALLBACK, Channel, Destination, RetryPolicy

MAX_RECEIVES: Final = 1_000
"""The highest `maxReceiveCount` of SQS: how often SQS hands out a message before it moves the message to the DLQ.

The consumer counts attempts itself, and puts a message into the DLQ with the reason. SQS's count also rises when a
channel limits its rate (up to 900 times an hour), when a duplicate arrives during an attempt, and when Lambda is
throttled. None of these may end a request's delivery, even if its policy allows few attempts.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
"""
RETRIES: Mapping[Destination, RetryPolicy] = {
    # With the defaults, the consumer gives up on a channel that stays down after five delays, which take at most ten
    # minutes altogether.
    **{channel: RetryPolicy() for channel in Channel},
    # A bot may be down for half a day. Longer delays do no harm: no human and no fallback waits for a callback.
    CALLBACK: RetryPolicy(attempts=12, max_delay=21_600),
}
"""The retry policy of each destination. The settings `retry_…` override it, for all destinations alike."""


def longest(policy: RetryPolicy, delays: int | None = None) -> int:
    """The longest possible sum, in seconds, of the first `delays` delays between attempts; None means all delays."""
    last = policy.attempts - 1 if delays is None else min(delays, policy.attempts - 1)
    return sum(max(policy.ceiling(attempt), policy.doubt_delay) for attempt in range(1, last + 1))
