"""Tests each path with each of its calls broken in turn: the request must still reach the correct final status.

`make test` kills the process at the start of each invocation and after each call that changes something, and loses the
response of each such call that the SDK then repeats. A process that dies between two calls has left the same as one
that dies after the first of them, and a call that only reads leaves nothing. `make soak` kills the process before and
after every call, and also refuses each call, lets it time out, and loses its response.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from assistance.routing import Topic
from tests.faults.fault_injection import (
    CRASHES,
    ERRORS,
    READS,
    REPEATED_BY_THE_SDK,
    REPEATS,
    Fault,
    FaultInjector,
    Kind,
)
from tests.faults.paths import EACH_PATH, PATHS, run, unbroken
from tests.faults.world import World


def faults(unbroken_run: FaultInjector) -> Iterator[Fault]:
    """The faults to try on a path. `unbroken_run`: has counted the calls that the path makes without a fault."""
    for number, name in enumerate(unbroken_run.calls):
        if os.environ.get("SOAK"):
            yield from (Fault(number, kind) for kind in (*CRASHES, *REPEATS, *ERRORS))
            continue
        if number in unbroken_run.first_calls:
            yield Fault(number, Kind.CRASH_BEFORE)
        if name not in READS:
            yield Fault(number, Kind.CRASH_AFTER)
            if name.partition(".")[0] in REPEATED_BY_THE_SDK:
                yield Fault(number, Kind.REPEATED)


def attempts(system: World) -> list[object]:
    """For each request, return the channel, the status and the number of attempts of each delivery."""
    return [
        [(each["channel"], each["status"], each["attempts"]) for each in system.show(request.id)["deliveries"]]
        for request in system.accepted.values()
    ]


@pytest.mark.parametrize(("name", "topic"), EACH_PATH)
def test_a_request_gets_the_correct_final_status_whichever_single_aws_or_provider_call_fails(
    system: World, count: Callable[[str], None], name: str, topic: Topic
) -> None:
    """For any fault of one call, no request is lost or sent twice, and no status moves back."""
    calls, ends = len(unbroken(system, name, topic)), attempts(system)
    runs = Counter[Kind]()
    for fault in list(faults(system.injector)):
        run(system, PATHS[name], topic, fault)
        assert system.injector.struck
        runs[fault.kind] += 1
        if fault.kind is Kind.REPEATED and system.injector.struck_at.startswith("dynamodb."):
            assert attempts(system) == ends, f"{system.injector.struck_at}, call {fault.call}: its repetition counts"
    crashes, repeats, errors = (sum(runs[kind] for kind in kinds) for kinds in (CRASHES, REPEATS, ERRORS))
    assert crashes
    count(f"{topic}, {name}: {calls} calls, {crashes} crashes, {repeats} repeats, {errors} errors")
