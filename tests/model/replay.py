"""Draws random sequences of steps from the model, takes each step with the real handlers too, and compares the states.

The model allows more than real time does: locks end in any order, and the reconciler runs at any moment. A sequence has
only steps that the real times allow. It takes a run of the reconciler as one step, which in the model is several steps.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final

from assistance.domain.transitions import Refused
from tests.model.deployed import Deployed
from tests.model.observed_state import of_model, of_real
from tests.model.result_cache import Memory
from tests.model.steps import Step, steps
from tests.model.system_steps import PUBLISHING_SWEEP, SWEEP, TOO_EARLY, take
from tests.model.world import ATTEMPTS, LOCKED, World, canonical

_TICK_MS: Final = 10
_PAUSE_MS: Final = 3_000
_MOMENT_MS: Final = 2_000
"""Longer than steps of a sequence that should happen at the same time take together."""
_NOW_AND_THEN: Final = 0.15
_SWEEPS: Final = "a sweep finds "
_PUBLISHES: Final = ("the producer publishes", "the producer marks")
_RESENDS: Final = "the operator resends"
_EXPIRES: Final = "the request expires"
"""The name of a step that is mostly left out when it could be drawn, so that many steps come before it."""
_SINGLE: Final = ", to send it alone"


class Disagreement(AssertionError):
    """The model and the real system differ after a step. The message contains the sequence of steps."""


def replay(start: World, real: Deployed, memory: Memory, draw: Random, most: int = 50) -> list[str]:
    """Draw at most `most` steps, and take each in the model and in the real system. Returns their names.

    Raises `Disagreement` after the first step after which the two differ.
    """
    world, path = canonical(start, memory), list[str]()
    try:
        while len(path) < most and (possible := list(_possible(world, real, memory, draw))):
            step, after = draw.choice(possible)
            path.append(step)
            _tick(real, draw)
            take(step, real, world, after, draw)
            world = canonical(after, memory)
            wrong = of_model(world).differences(of_real(real, world, memory))
            assert not wrong, "\n".join(wrong)
    except Exception as error:
        lines = (f"{number:3}. {step}" for number, step in enumerate(path, 1))
        raise Disagreement("\n".join([*lines, f"{type(error).__name__}: {error}"])) from error
    finally:
        real.end()
    return path


def _possible(world: World, real: Deployed, memory: Memory, draw: Random) -> Iterator[Step]:
    """All steps that real time allows next, and at random also steps that change nothing."""
    # For these steps the time when the lock ends is already known.
    is_ending = any(worker.step in {"failed", "give up"} for worker in world.workers)
    for step, after in steps(world, memory):
        too_soon = step == _EXPIRES and draw.random() > _NOW_AND_THEN
        # A message that was due is expected for some minutes more, while in the model its lock has just ended.
        too_soon = too_soon or (step == _RESENDS and not real.may_resend(world.record.channels[0]))
        if not too_soon and _comes_in_turn(step, real.locks, is_ending=is_ending):
            yield step, after
    swept = _swept(world, memory)
    wait = real.until_overdue
    in_time = real.locks_hold(wait + _MOMENT_MS) and not (is_ending and wait > _MOMENT_MS)
    if in_time and (swept is not world or draw.random() < _NOW_AND_THEN):
        yield SWEEP, swept
    # An entry that another producer has just published too is sent twice, which uses up a fault of the budget.
    if in_time and not world.marking and (world.unpublished or world.record.outbox):
        yield PUBLISHING_SWEEP, _swept(_published(world, memory), memory)
    for name in sorted(set(world.queue)) if not world.expired else ():
        how = {"now": 0, "until": LOCKED, "limit": ATTEMPTS}
        if draw.random() < _NOW_AND_THEN and memory.claim(world.record, name, "c", **how)[1] is Refused.BUSY:
            yield TOO_EARLY.format(name), world


def _comes_in_turn(step: str, locks: Mapping[str, int], *, is_ending: bool) -> bool:
    """Whether the step may be drawn: it is no part of another step, and no end of one of several locks that end now."""
    if step.startswith(_SWEEPS) or step.endswith(_SINGLE):
        return False
    ends = next((ends for name, ends in locks.items() if step.startswith(f"the lock on {name} ends")), None)
    return ends is None or (not is_ending and sum(each <= ends + _MOMENT_MS for each in locks.values()) == 1)


def _swept(world: World, memory: Memory) -> World:
    """The world after a run of the reconciler, which takes all its possible steps, one after the other."""
    return _while(world, memory, lambda step: step.startswith(_SWEEPS))


def _published(world: World, memory: Memory) -> World:
    """The world after all outbox entries were published."""
    return _while(world, memory, lambda step: step.startswith(_PUBLISHES))


def _while(world: World, memory: Memory, wanted: Callable[[str], bool]) -> World:
    while found := next((after for step, after in steps(world, memory) if wanted(step)), None):
        world = found
    return world


def _tick(real: Deployed, draw: Random) -> None:
    pause = draw.choice((_TICK_MS, _PAUSE_MS))
    real.pass_by(pause if real.locks_hold(pause + _MOMENT_MS) else _TICK_MS)
