"""Tests the rule that decides after an attempt when the next one is due."""

import random
from datetime import timedelta

import pytest

from assistance.domain.transitions import Claim
from assistance.engine.decisions import PATIENCE, PutOff, decide, delay_if_busy
from assistance.errors import RateLimited
from assistance.routing import RetryPolicy
from infra.retries import MAX_RECEIVES

POLICIES = pytest.mark.parametrize(
    "policy", [RetryPolicy(), RetryPolicy(first_delay=0), RetryPolicy(max_delay=0)], ids=str
)


@pytest.mark.parametrize("sends_batches", [True, False])
@POLICIES
def test_a_rate_limit_of_an_hour_does_not_use_up_the_receives_of_sqs(
    *, policy: RetryPolicy, sends_batches: bool
) -> None:
    waited, receives = timedelta(), 0
    while waited <= PATIENCE:
        receives += 1
        decision = decide(
            RateLimited("ratelimited"),
            Claim(1, ()),
            policy,
            waited=waited,
            receives=receives,
            sends_batches=sends_batches,
            jitter=random.Random(receives).uniform,  # noqa: S311
        )
        assert isinstance(decision, PutOff)
        assert receives < MAX_RECEIVES - policy.attempts, f"used up after {waited}"
        waited += timedelta(seconds=decision.delay)


@POLICIES
def test_a_message_can_wait_for_a_delivery_that_is_rate_limited_for_an_hour(policy: RetryPolicy) -> None:
    rng = random.Random(1)  # noqa: S311
    waits = (delay_if_busy(policy, receives=1 + n, jitter=rng.uniform) for n in range(MAX_RECEIVES - policy.attempts))
    assert timedelta(seconds=sum(waits)) > PATIENCE
