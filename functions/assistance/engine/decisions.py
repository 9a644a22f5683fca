"""What follows from a channel's answer: a pure rule that returns what to record, and when the next attempt is due."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
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


class Cause(StrEnum):
    """The consequence of a failure for the delivery."""

    RATE_LIMITED = "rate limited"
    REFUSED_IN_BATCH = "refused in one message with others"
    TRANSIENT = "transient"
    PERMANENT = "permanent"


@dataclass(frozen=True, slots=True)
class Failed:
    """A channel's answer if it did not send. `retry_after` is in seconds, where the provider gave one."""

    cause: Cause
    code: str
    in_doubt: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took the message. `result` is the provider's id of the message."""

    result: str


@dataclass(frozen=True, slots=True)
class PutOff:
    """The provider has not tried to deliver the message, so this was no attempt. Another follows after `delay` seconds.

    `alone`: True if the request must then go in a message of its own, without the other requests of a batch.
    """

    code: str
    delay: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The attempt failed, and another follows after `delay` seconds. `in_doubt`: the message may have arrived."""

    code: str
    delay: int
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No further attempt follows. The message goes to the dead-letter queue before this is recorded.

    `in_doubt`: the message may have arrived.
    """

    code: str
    in_doubt: bool = False


Decision: TypeAlias = Sent | PutOff | RetryLater | GaveUp
SendResult: TypeAlias = str | Failed
"""A channel's answer: the provider's id of the message, or the failure."""


def failed(error: DeliveryError) -> Failed:
    """The failure that a channel has raised, as a value."""
    match error:
        case RefusedInBatch():
            return Failed(Cause.REFUSED_IN_BATCH, error.code)
        case RateLimited():
            return Failed(Cause.RATE_LIMITED, error.code, retry_after=error.retry_after)
        case TransientFailure():
            return Failed(Cause.TRANSIENT, error.code, error.in_doubt, error.retry_after)
        case PermanentFailure():
            return Failed(Cause.PERMANENT, error.code)
    return Failed(Cause.TRANSIENT, error.code, in_doubt=True)


EXHAUSTED: Final = Failed(Cause.PERMANENT, "attempts_exhausted")
UNEXPECTED: Final = Failed(Cause.TRANSIENT, "unexpected_error", in_doubt=True)
"""Stands for an unforeseen error. It is in doubt: the message may have been sent before the error."""


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What decides on the next attempt and its delay, besides the channel's answer.

    `waited`: the time since the delivery was first put off. `receives`: how often SQS has delivered the message.
    `sends_batches`: True if the channel sends several requests in one message. `jitter` returns a random number between
    two numbers.
    """

    claim: Claim
    policy: RetryPolicy
    waited: timedelta
    receives: int
    sends_batches: bool
    jitter: Callable[[float, float], float]


def decide(outcome: SendResult, context: AttemptContext) -> Decision:
    """What to record of the attempt."""
    if isinstance(outcome, str):
        return Sent(outcome)
    policy, claim = context.policy, context.claim
    counts = outcome.cause is Cause.TRANSIENT or (outcome.cause is Cause.RATE_LIMITED and context.waited > PATIENCE)
    if outcome.cause is Cause.PERMANENT or (counts and claim.number >= policy.attempts):
        return GaveUp(outcome.code, outcome.in_doubt)
    # Messages that were put off must not all come back at the same time, so the delay grows with each receive. If the
    # channel sends several requests in one message, it can take them all at once. There the delay does not grow,
    # because that would only let newer requests go first.
    waits = claim.number if counts else 1 if context.sends_batches else context.receives
    delay = (outcome.retry_after or 0) + context.jitter(0, policy.ceiling(waits))
    if outcome.in_doubt or claim.doubts:
        delay = max(delay, policy.doubt_delay)
    seconds = min(math.ceil(delay), MAX_DELAY_SECONDS)
    if counts:
        return RetryLater(outcome.code, seconds, outcome.in_doubt)
    return PutOff(outcome.code, seconds, alone=outcome.cause is Cause.REFUSED_IN_BATCH)
