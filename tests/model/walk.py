"""The model checker.

It visits every state of a world, breadth first, so it finds a shortest sequence to a violation.
"""

import gc
from array import array
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import ModuleType
from typing import Final, TypeAlias

from tests.model.core import core_of
from tests.model.effects import broken_by_effects
from tests.model.promises import broken, broken_by_step
from tests.model.result_cache import Memory
from tests.model.steps import Violation, steps
from tests.model.world import World, canonical, has_ended, key_of, with_workers_in_order

_REPORT_EVERY: Final = 1_000


@dataclass(frozen=True, slots=True)
class Walk:
    """The result of a check. `path`: the steps that lead to a violation, empty if every invariant holds."""

    states: int
    steps: int
    path: tuple[str, ...] = ()
    complete: bool = True

    @property
    def wrong(self) -> str | None:
        """The violated invariant, if there is one."""
        return self.path[-1] if self.path else None

    def __str__(self) -> str:
        if self.path:
            return "\n".join(f"{number:3}. {step}" for number, step in enumerate(self.path, 1))
        return f"{self.states:,} states, {self.steps:,} steps: every promise holds"


Progress: TypeAlias = Callable[[int, int], object]
"""Called regularly with the number of states so far, and the number of those still to visit."""


def walk(
    start: World,
    *,
    core: ModuleType | None = None,
    most: int = 5_000_000,
    key: Callable[[World], Hashable] = key_of,
    report_progress: Progress = lambda *_: None,
    effects: int = 0,
) -> Walk:
    """Visit every state that this world can reach, but `most` states at most.

    Check that every state keeps every invariant, and that a finished state can be reached from every state. States with
    the same `key` count as one, and so do states in which two workers have each other's ids. `effects`: in how many
    states at most to check what each event records, as `effects.py` describes.
    """
    # The model checker keeps every state that it finds, so there is no garbage to collect.
    gc.disable()
    try:
        return _walk(start, Memory(core or core_of()), _Found(key), most, report_progress, effects=effects)
    finally:
        gc.enable()


class _Found:
    """The number of each state found so far, and the step and the state from which it was first reached."""

    def __init__(self, key: Callable[[World], Hashable]) -> None:
        self.key = key
        self.numbers: dict[Hashable, int] = {}
        # Millions of states share a few hundred step names.
        self.steps: dict[str, int] = {}
        self.came_from, self.by_step = array("q"), array("H")
        self.sources, self.targets = array("I"), array("I")

    def take(self, world: World, came_from: int, step: str) -> tuple[int, bool]:
        """Add the state, unless it is known. `came_from`: the number of the state before `step`.

        Returns the state's number, and whether it is new.
        """
        number = self.numbers.setdefault(self.key(world), len(self.by_step))
        new = number == len(self.by_step)
        if new:
            self.came_from.append(came_from)
            self.by_step.append(self.steps.setdefault(step, len(self.steps)))
        return number, new

    def ended(self, number: int, *ending: str) -> Walk:
        """A result whose path is the steps to the state of this number, and then `ending`."""
        lines, names = list(reversed(ending)), list(self.steps)
        while number > 0:
            lines.append(names[self.by_step[number]])
            number = self.came_from[number]
        return self.result(*reversed(lines))

    def result(self, *path: str, complete: bool = True) -> Walk:
        """A result with the numbers of states and steps so far. `path`: the steps to a violation."""
        return Walk(len(self.by_step), len(self.sources), path, complete)


def _walk(start: World, memory: Memory, found: _Found, most: int, report_progress: Progress, *, effects: int) -> Walk:
    states, finished = deque([canonical(start, memory)]), array("q")
    wrong_step, ended = memory.once_per_pair(broken_by_step), memory.once(has_ended)
    effect = memory.once(broken_by_effects)
    found.take(states[0], -1, "")
    number = -1
    while states:
        world, number = states.popleft(), number + 1
        if number % _REPORT_EVERY == 0:
            report_progress(len(found.by_step), len(states))
        if world.is_quiet and (world.expired or ended(world.record)):
            finished.append(number)
        try:
            for step, after in steps(world, memory):
                then = canonical(after, memory)
                known, new = found.take(with_workers_in_order(then, memory), number, step)
                found.sources.append(number)
                found.targets.append(known)
                wrong = wrong_step(world.record, after.record, step) or (new and broken(then, memory))
                if wrong := wrong or (new and known < effects and effect(then.record, memory)):
                    return found.ended(number, step, f"BROKEN: {wrong}")
                if new:
                    states.append(then)
        except Violation as violation:
            return found.ended(number, f"BROKEN: {violation}")
        if len(found.by_step) > most:
            return found.result(complete=False)
    report_progress(len(found.by_step), 0)
    stuck = _first_that_reaches_none(len(found.by_step), found.sources, found.targets, finished)
    return found.result() if stuck is None else found.ended(stuck, "BROKEN: from here it can't end")


def _first_that_reaches_none(
    count: int, sources: "array[int]", targets: "array[int]", goals: "array[int]"
) -> int | None:
    """The first of `count` states from which no goal can be reached; None if there is none. Goes backwards from goals.

    Step number n leads from the state `sources[n]` to `targets[n]`.
    """
    starts = array("I", bytes(4 * (count + 1)))
    for target in targets:
        starts[target + 1] += 1
    for number in range(count):
        starts[number + 1] += starts[number]
    place, before = array("I", starts), array("I", bytes(4 * len(sources)))
    for source, target in zip(sources, targets, strict=True):
        before[place[target]] = source
        place[target] += 1
    reaches = bytearray(count)
    todo = array("I", goals)
    for goal in todo:
        reaches[goal] = 1
    while todo:
        number = todo.pop()
        for source in before[starts[number] : starts[number + 1]]:
            if not reaches[source]:
                reaches[source] = 1
                todo.append(source)
    missing = reaches.find(0)
    return None if missing < 0 else missing
