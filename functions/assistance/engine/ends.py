"""How an attempt ends: a pure rule from the channel's answer to the end to record, and when the next attempt is due."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from assistance.domain.transitions import Claim
from assistance.errors import DeliveryError, PermanentFailure, RateLimited, RefusedTogether, TransientFailure
from assistance.routing import RetryPolicy

# Twelve hours is SQS's limit, counted from the receive:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
MAX_DELAY_SECONDS: Final = 42_000
# A provider that limits its rate for that long is down as far as this request goes (a day's quota, say): from then on
# such attempts count, and lead to the fallback.
PATIENCE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took the message. `result` is its id for it."""

    result: str


@dataclass(frozen=True, slots=True)
class PutOff:
    """Nothing was tried. `delay` is in seconds."""

    code: str
    delay: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class RetryLater:
    """The attempt failed, and another follows after `delay` seconds."""

    code: str
    delay: int
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No further attempt is made. The message goes to the dead-letter queue before this is recorded."""

    code: str
    in_doubt: bool = False


End: TypeAlias = Sent | PutOff | RetryLater | GaveUp
Outcome: TypeAlias = str | DeliveryError
"""A channel's answer: the provider's id of the message, or why there is none."""

NO_ATTEMPT: Final = (RateLimited, RefusedTogether)
"""With these the provider has not tried to deliver the message."""
EXHAUSTED: Final = PermanentFailure("attempts_exhausted")
UNEXPECTED: Final = TransientFailure("unexpected_error", in_doubt=True)
"""An unforeseen error may hide that the message was sent."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The facts that decide the delay, besides the failure itself.

    `waited`: the time since it was first put off. `receives`: how often SQS has delivered the message. `together`: the
    channel sends several requests in one message.
    """

    claim: Claim
    policy: RetryPolicy
    waited: timedelta
    receives: int
    together: bool
    jitter: Callable[[float, float], float]


def end_of(outcome: Outcome, turn: Turn) -> End:
    """How the attempt ends."""
    if isinstance(outcome, str):
        return Sent(outcome)
    policy, claim = turn.policy, turn.claim
    counts = not isinstance(outcome, NO_ATTEMPT) or (isinstance(outcome, RateLimited) and turn.waited > PATIENCE)
    if isinstance(outcome, PermanentFailure) or (counts and claim.number >= policy.attempts):
        return GaveUp(outcome.code, outcome.in_doubt)
    # Messages that were put off must not come back all at once, so each delay may be longer than the last. A channel
    # that sends them together can take them all: longer delays would only let newer requests go first.
    waits = claim.number if counts else 1 if turn.together else turn.receives
    delay = (outcome.retry_after or 0) + turn.jitter(0, policy.ceiling(waits))
    if outcome.in_doubt or claim.doubts:
        delay = max(delay, policy.doubt_delay)
    seconds = min(math.ceil(delay), MAX_DELAY_SECONDS)
    if counts:
        return RetryLater(outcome.code, seconds, outcome.in_doubt)
    return PutOff(outcome.code, seconds, alone=isinstance(outcome, RefusedTogether))
