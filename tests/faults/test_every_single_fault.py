"""Each call on each path is broken in turn, in each way; the system then runs on, and must end in the right state.

`make test` kills the process at each call, and has the SDK repeat each call whose answer is lost; `make soak` also has
each call refused, time out, and lose its answer.
"""

import itertools
import os
from collections import Counter
from collections.abc import Callable

import pytest

from assistance.routing import Topic
from tests.faults.breaker import CRASHES, ERRORS, REPEATS, Fault, Kind
from tests.faults.paths import EACH_PATH, PATHS, run, unbroken
from tests.faults.world import World

KINDS = (*CRASHES, *REPEATS, *ERRORS) if os.environ.get("SOAK") else (*CRASHES, *REPEATS)


@pytest.mark.parametrize(("name", "topic"), EACH_PATH)
def test_every_single_fault(here: World, count: Callable[[str], None], name: str, topic: Topic) -> None:
    """Whatever one call meets, nothing is lost, nothing is sent twice, and no status moves back."""
    calls = len(unbroken(here, name, topic))
    runs = Counter[Kind]()
    for kind in KINDS:
        for number in itertools.count():
            run(here, PATHS[name], topic, Fault(number, kind))
            if not here.breaker.struck:
                break
            runs[kind] += 1
        assert runs[kind] >= calls
    crashes, repeats, errors = (sum(runs[kind] for kind in kinds) for kinds in (CRASHES, REPEATS, ERRORS))
    count(f"{topic}, {name}: {calls} calls, {crashes} crashes, {repeats} repeats, {errors} errors")
