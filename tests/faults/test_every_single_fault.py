"""Each call on each path is broken in turn, in each way; the system then runs on, and must end in the right state.

`make test` kills the process at each call; `make soak` also has each call refused, time out, and lose its answer.
"""

import itertools
import os
from collections import Counter
from collections.abc import Callable

import pytest

from assistance.routing import Topic
from tests.faults.breaker import CRASHES, ERRORS, Fault, Kind
from tests.faults.paths import PATHS, Path
from tests.faults.world import World


def _run(here: World, path: Path, topic: Topic, fault: Fault | None) -> None:
    here.reset()
    path.before(here, topic)
    here.breaker.plan(fault)
    try:
        path.then(here, topic)
    except AssertionError as error:
        error.add_note(f"{topic}: {fault} of {here.breaker.calls}")
        raise


KINDS = (*CRASHES, *ERRORS) if os.environ.get("SOAK") else CRASHES


@pytest.mark.parametrize(("name", "topic"), [(name, topic) for name, path in PATHS.items() for topic in path.topics])
def test_every_single_fault(here: World, count: Callable[[str], None], name: str, topic: Topic) -> None:
    """Whatever one call meets, nothing is lost, nothing is sent twice, and no status moves back."""
    path = PATHS[name]
    _run(here, path, topic, None)
    assert {request.statuses[""] for request in here.accepted.values()} == {path.ends}
    calls = len(here.breaker.calls)
    runs = Counter[Kind]()
    for kind in KINDS:
        for number in itertools.count():
            _run(here, path, topic, Fault(number, kind))
            if not here.breaker.struck:
                break
            runs[kind] += 1
        assert runs[kind] == calls
    crashes, errors = sum(runs[kind] for kind in CRASHES), sum(runs[kind] for kind in ERRORS)
    count(f"{topic}, {name}: {calls} calls, {crashes} crashes, {errors} errors")
