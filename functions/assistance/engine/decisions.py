"""A pure rule that decides from a channel's answer what to record of an attempt, and when the next one is due."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from assistance.domain.transitions import Claim
from assistance.errors import DeliveryError, PermanentFailure, RateLimited, RefusedInBatch, TransientFailure
from assistance.routing import RetryPolicy

# SQS can hide a message for at most twelve hours after it was received:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
MAX_DELAY_SECONDS: Final = 42_000
# At first, attempts that a rate limit refuses do not count. If a provider has refused a request for this long (a daily
# quota is used up, say), further ones count. So the consumer gives up in the end, and the fallback is used.
PATIENCE: Final = timedelta(hours=1)
# SQS moves a message to the DLQ after 1,000 receives, which must take longer than `PATIENCE`. A delay in which nothing
# counts is at least `_LEAST`, plus a random time of up to `_SPREAD` seconds or more: four seconds on average, even if
# the policy's own delays are shorter.
_LEAST: Final = 1
_SPREAD: Final = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took the message. `result` is the provider's id of the message.

    `place`: where on the channel a search has found the message; None if this attempt has sent it.
    """

    result: str
    place: str | None = None


@dataclass(frozen=True, slots=True)
class PutOff:
    """The provider has not tried to send, so this attempt does not count. Another follows after `delay` seconds."""

    code: str
    delay: int
    alone: bool = False  # True if the request must then go in a message of its own


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The attempt failed, and another follows after `delay` seconds. `in_doubt`: the message may have arrived.

    `limited`: a rate limit, which has lasted for so long that it counts, made the attempt fail.
    """

    code: str
    delay: int
    in_doubt: bool = False
    limited: bool = False


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No further attempt follows. The message goes to the dead-letter queue before the failure is recorded."""

    code: str
    in_doubt: bool = False


Decision: TypeAlias = Sent | PutOff | RetryLater | GaveUp
SendResult: TypeAlias = str | Sent | DeliveryError
"""A channel's answer: the provider's id of the message, `Sent` if a search has found the message, or the error."""
EXHAUSTED: Final = PermanentFailure("attempts_exhausted")
UNEXPECTED: Final = TransientFailure("unexpected_error", in_doubt=True)
"""Stands for an unforeseen error. The attempt is in doubt: the message may have been sent before the error."""


def decide(
    outcome: SendResult,
    claim: Claim,
    policy: RetryPolicy,
    *,
    waited: timedelta,  # for how long attempts have only been put off
    receives: int,  # how often SQS has delivered the message
    sends_batches: bool,  # True if the channel sends several requests in one message
    jitter: Callable[[float, float], float],
) -> Decision:
    """What to record of the attempt. `jitter` returns a random number of seconds between its two arguments."""
    if isinstance(outcome, str | Sent):
        return outcome if isinstance(outcome, Sent) else Sent(outcome)
    is_limited, is_alone = isinstance(outcome, RateLimited), isinstance(outcome, RefusedInBatch)
    counts = waited > PATIENCE if is_limited else not is_alone
    if isinstance(outcome, PermanentFailure) or (counts and claim.number >= policy.attempts):
        return GaveUp(outcome.code, outcome.in_doubt)
    # Messages that were put off must not all come back at the same time, so the delay grows with each receive. If the
    # channel sends several requests in one message, it can take them all at once. There the delay does not grow,
    # because that would only let newer requests go first.
    waits = claim.number if counts else 1 if sends_batches else receives
    least, spread = (0, 0) if counts else (_LEAST, _SPREAD)
    delay = max(outcome.retry_after or 0, least) + jitter(0, max(policy.ceiling(waits), spread))
    if outcome.in_doubt or claim.doubts:
        delay = max(delay, policy.doubt_delay)
    seconds = min(math.ceil(delay), MAX_DELAY_SECONDS)
    if counts:
        return RetryLater(outcome.code, seconds, outcome.in_doubt, is_limited)
    return PutOff(outcome.code, seconds, is_alone)


def delay_if_busy(policy: RetryPolicy, *, receives: int, jitter: Callable[[float, float], float]) -> int:
    """For how many seconds to hide a message that must wait, because another attempt or delivery goes first.

    That other one may have been put off, so this message must be able to wait for as long. Arguments as for `decide`.
    """
    return math.ceil(_LEAST + jitter(0, max(policy.ceiling(receives), _SPREAD)))
