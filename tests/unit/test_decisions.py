"""Tests the rule that decides after an attempt when the next one is due."""

import random
from datetime import timedelta

import pytest

from assistance.domain.transitions import Claim
from assistance.engine.decisions import PATIENCE, PutOff, decide
from assistance.errors import RateLimited
from assistance.routing import RetryPolicy
from infra.retries import MAX_RECEIVES


@pytest.mark.parametrize("sends_batches", [True, False])
@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(first_delay=0), RetryPolicy(max_delay=0)], ids=str)
def test_a_rate_limit_of_an_hour_does_not_use_up_the_receives_of_sqs(
    *, policy: RetryPolicy, sends_batches: bool
) -> None:
    waited, receives = timedelta(), 0
    while waited <= PATIENCE:
        receives += 1
        decision = decide(
            RateLimited("ratelimited"),
            Claim(1, (), alone=False),
            policy,
            waited=waited,
            receives=receives,
            sends_batches=sends_batches,
            jitter=random.Random(receives).uniform,  # noqa: S311
        )
        assert isinstance(decision, PutOff)
        assert receives < MAX_RECEIVES - policy.attempts, f"used up after {waited}"
        waited += timedelta(seconds=decision.delay)
