"""Each call on each path is broken in turn, in each way; the system then runs on, and must end in the right state.

`make test` kills the process at each call, and has the SDK repeat each call whose answer is lost; `make soak` also has
each call refused, time out, and lose its answer. AWS is in memory for all that; each path is held against moto once.
"""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from assistance.routing import Topic
from tests.faults.breaker import CRASHES, ERRORS, REPEATS, Fault, Kind
from tests.faults.paths import PATHS, Path
from tests.faults.world import World, world

KINDS = (*CRASHES, *REPEATS, *ERRORS) if os.environ.get("SOAK") else (*CRASHES, *REPEATS)
EACH_PATH = [(name, topic) for name, path in PATHS.items() for topic in path.topics]


@pytest.fixture(scope="module")
def on_moto() -> Iterator[World]:
    with world(moto=True) as here:
        yield here


def _run(here: World, path: Path, topic: Topic, fault: Fault | None) -> None:
    here.reset()
    path.before(here, topic)
    here.breaker.plan(fault)
    try:
        path.then(here, topic)
    except AssertionError as error:
        error.add_note(f"{topic}: {fault} of {here.breaker.calls}")
        raise


def _unbroken(here: World, name: str, topic: Topic) -> list[str]:
    """Go all the way. Returns the calls."""
    path = PATHS[name]
    _run(here, path, topic, None)
    assert {request.status for request in here.accepted.values()} == {path.ends}
    return list(here.breaker.calls)


@pytest.mark.parametrize(("name", "topic"), EACH_PATH)
def test_every_single_fault(here: World, count: Callable[[str], None], name: str, topic: Topic) -> None:
    """Whatever one call meets, nothing is lost, nothing is sent twice, and no status moves back."""
    calls = len(_unbroken(here, name, topic))
    runs = Counter[Kind]()
    for kind in KINDS:
        for number in itertools.count():
            _run(here, PATHS[name], topic, Fault(number, kind))
            if not here.breaker.struck:
                break
            runs[kind] += 1
        assert runs[kind] >= calls
    crashes, repeats, errors = (sum(runs[kind] for kind in kinds) for kinds in (CRASHES, REPEATS, ERRORS))
    count(f"{topic}, {name}: {calls} calls, {crashes} crashes, {repeats} repeats, {errors} errors")
