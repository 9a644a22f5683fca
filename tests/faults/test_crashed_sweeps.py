"""Tests that the reconciler's alarms reach the operator although the reconciler crashes."""

from collections.abc import Callable

import pytest

from assistance.routing import Channel, Topic
from tests.faults.fault_injection import Fault, Kind
from tests.faults.humans import ESCALATE_AFTER, STAFFED
from tests.faults.test_open_requests import published
from tests.faults.world import World
from tests.logged_metrics import emitted


def counted(capsys: pytest.CaptureFixture[str], name: str) -> float:
    """The largest value of the reconciler's metric `name` since the last call, or 0. Its alarm uses the maximum."""
    found = {series.name: max(values) for series, values in emitted(capsys.readouterr().out).items()}
    return found.get(name, 0)


def lost(system: World, number: int) -> list[str]:
    ids = [published(system, Topic.SALES, f"key {one}") for one in range(number)]
    system.aws.purge(Channel.SLACK)
    system.advance(1_000)
    return ids


def sweeps(system: World, number: int) -> None:
    for _ in range(number):
        system.advance(60)
        system.reconcile()
        system.produce()


def untaken(system: World) -> None:
    system.accept_for_sure(Topic.SALES, "help", "key")
    system.settle()
    system.advance(60 * ESCALATE_AFTER)


def check_alarm(
    system: World,
    capsys: pytest.CaptureFixture[str],
    kind: Kind,
    metric: str,
    *,
    before: Callable[[World], object],
    channel: Channel,
) -> None:
    """Check that the metric rises whichever call of the sweep fails, and that the channel's queue gets the request.

    `before`: prepares the system. `kind`: the fault of the call. The invocation that fails raises no alarm by itself.
    """
    quiet, number, struck = list[str](), 0, True
    while struck:
        system.reset()
        before(system)
        capsys.readouterr()
        system.injector.plan(Fault(number, kind))
        system.reconcile()
        struck = system.injector.struck
        call = system.injector.struck_at if struck else ""
        system.injector.plan(None)
        sweeps(system, 5)
        assert system.bodies(channel)
        if not counted(capsys, metric):
            quiet.append(f"{number} {call}")
        number += 1
    assert number > 5
    assert not quiet, "it was published, and no alarm"


@pytest.mark.parametrize("kind", [Kind.CRASH_BEFORE, Kind.CRASH_AFTER, Kind.TIMEOUT_AFTER])
def test_a_lost_request_raises_an_alarm_whichever_call_the_reconciler_crashes_at(
    system: World, capsys: pytest.CaptureFixture[str], kind: Kind
) -> None:
    check_alarm(system, capsys, kind, "LostRequests", before=lambda system: lost(system, 1), channel=Channel.SLACK)


def test_lost_requests_raise_an_alarm_although_the_delivery_record_of_one_cannot_be_written(
    system: World, capsys: pytest.CaptureFixture[str]
) -> None:
    lost(system, 2)
    capsys.readouterr()
    calls = list[str]()

    def outage(call: str) -> Kind | None:
        calls.append(call)
        # The fifth write is the second one of a record. Before it, the reconciler writes both records, the time up to
        # which it has checked, and one record again.
        return Kind.REFUSED if call == "dynamodb.PutItem" and calls.count(call) == 5 else None

    system.injector.outage = outage
    assert system.reconcile() is None
    system.heal()
    assert counted(capsys, "LostRequests") == 2


@pytest.mark.parametrize("kind", [Kind.CRASH_BEFORE, Kind.CRASH_AFTER, Kind.TIMEOUT_AFTER, Kind.REPEATED])
def test_a_request_that_nobody_takes_raises_an_alarm_whichever_call_the_reconciler_crashes_at(
    system: World, capsys: pytest.CaptureFixture[str], kind: Kind
) -> None:
    system.deploy(STAFFED)
    check_alarm(system, capsys, kind, "UntakenRequests", before=untaken, channel=Channel.EMAIL)
