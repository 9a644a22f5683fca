"""Tests each path with each of its calls broken in turn: the request must still reach the correct final status.

`make test` kills the process at each call, and loses the response of each call that the SDK then repeats. `make soak`
also refuses each call, lets it time out, and loses its response.
"""

import itertools
import os
from collections import Counter
from collections.abc import Callable

import pytest

from assistance.routing import Topic
from tests.faults.fault_injection import CRASHES, ERRORS, REPEATS, Fault, Kind
from tests.faults.paths import EACH_PATH, PATHS, run, unbroken
from tests.faults.world import World

KINDS = (*CRASHES, *REPEATS, *ERRORS) if os.environ.get("SOAK") else (*CRASHES, *REPEATS)


def attempts(here: World) -> list[object]:
    """Return the number of attempts, and the outcome of each delivery."""
    return [
        [(each["channel"], each["status"], each["attempts"]) for each in here.show(request.id)["deliveries"]]
        for request in here.accepted.values()
    ]


@pytest.mark.parametrize(("name", "topic"), EACH_PATH)
def test_a_request_gets_the_correct_final_status_whichever_single_aws_or_provider_call_fails(
    here: World, count: Callable[[str], None], name: str, topic: Topic
) -> None:
    """For any fault of one call, no request is lost or sent twice, and no status moves back."""
    calls, ends = len(unbroken(here, name, topic)), attempts(here)
    runs = Counter[Kind]()
    for kind in KINDS:
        for number in itertools.count():
            run(here, PATHS[name], topic, Fault(number, kind))
            if not here.injector.struck:
                break
            runs[kind] += 1
            if kind is Kind.REPEATED and here.injector.struck_at.startswith("dynamodb."):
                assert attempts(here) == ends, f"{here.injector.struck_at}, call {number}: its repetition counts"
        assert runs[kind] >= calls
    crashes, repeats, errors = (sum(runs[kind] for kind in kinds) for kinds in (CRASHES, REPEATS, ERRORS))
    count(f"{topic}, {name}: {calls} calls, {crashes} crashes, {repeats} repeats, {errors} errors")
