"""Tests that the model and the real handlers agree: their states are equal after each step of random sequences."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any, Final, TypeAlias

import pytest

from assistance.engine import delivery
from assistance.engine.attempt import Attempt
from assistance.engine.decisions import Decision, RetryLater, decide
from assistance.engine.delivery import Consumer
from assistance.engine.publisher import Publisher
from email_feedback.feedback import Feedback
from reconciler import dead_letters, open_requests
from slack_consumer import handler as slack
from tests.model.core import core_of
from tests.model.deployed import Deployed, deployment
from tests.model.replay import Disagreement, replay
from tests.model.result_cache import Memory
from tests.model.system_steps import ACTS, kind_of
from tests.model.worlds import TRACED

TRACES: Final = (int(os.environ.get("SOAK_TRACES", "5_000")) if "SOAK" in os.environ else 250) // len(TRACED)
Replay: TypeAlias = Callable[[str, int], list[str]]
Paths: TypeAlias = Callable[[str], list[list[str]]]


@pytest.fixture(scope="module")
def replayed() -> Iterator[Replay]:
    """Returns a function that replays the sequence of steps that a seed draws for a topic, and returns the steps."""
    routes = {topic: (start.record.channels, start.record.fallback) for topic, start in TRACED.items()}
    memory = Memory(core_of())
    with deployment(routes) as deployed:

        def one(topic: str, seed: int) -> list[str]:
            start = TRACED[topic]
            real = Deployed(*deployed, topic, calls_back=start.record.calls_back)
            try:
                return replay(start, real, memory, Random(seed))  # noqa: S311 # for tests
            except Disagreement as disagreement:
                raise Disagreement(f"{topic}, seed {seed}:\n{disagreement}") from disagreement

        yield one


@pytest.fixture(scope="module")
def paths(replayed: Replay) -> Paths:
    """Returns a function that replays all sequences for a topic, at its first call, and returns them."""
    return cache(lambda topic: [replayed(topic, seed) for seed in range(TRACES)])


@pytest.mark.parametrize("topic", TRACED)
def test_the_lambda_handlers_behave_like_the_model(topic: str, paths: Paths) -> None:
    assert len(paths(topic)) == TRACES


def test_the_recorded_step_sequences_contain_every_kind_of_step(paths: Paths) -> None:
    taken = {kind_of(step)[0] for topic in TRACED for path in paths(topic) for step in path}
    assert taken == set(ACTS)


def _does_nothing(*_: object, **__: object) -> None:
    pass


def _without_doubt(*arguments: Any, **named: Any) -> Decision:  # noqa: ANN401
    end = decide(*arguments, **named)
    return replace(end, in_doubt=False) if isinstance(end, RetryLater) else end


MISTAKES: Final[Mapping[str, tuple[object, str, Callable[..., Any]]]] = {
    "a consumer does not record the end": (Attempt, "save_success", _does_nothing),
    "a consumer forgets the doubt": (delivery, "decide", _without_doubt),
    "a consumer writes no dead letter": (Consumer, "_dead_letter", _does_nothing),
    "Slack's consumer does not look before it posts again": (slack, "find_posted", lambda _: {}),
    "the publisher leaves the entries in the outbox": (Publisher, "_take_out", _does_nothing),
    "the feedback function writes no dead letter": (Feedback, "_fail", _does_nothing),
    "a sweep finds no dead letter": (dead_letters, "find", lambda *_: None),
    "a sweep takes for lost what lies in its queue": (open_requests, "_is_empty", lambda *_: True),
    "a sweep takes nothing for lost": (open_requests, "_repair", _does_nothing),
}
"""Bugs outside of the domain code, which the model checker cannot detect."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_replaying_step_sequences_detects_each_deliberately_inserted_bug(
    mistake: str, replayed: Replay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*MISTAKES[mistake])
    assert any(_disagree(replayed, topic, seed) for seed in range(TRACES) for topic in TRACED)


def _disagree(replayed: Replay, topic: str, seed: int) -> bool:
    try:
        replayed(topic, seed)
    except Disagreement:
        return True
    return False
