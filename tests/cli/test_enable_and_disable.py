"""Tests `assistance enable` and `disable` on a stage with alarms, which also has a schedule for each heartbeat."""

from collections.abc import Callable

import pytest

from cli.stack import Stack
from tests.cli.steps import Operator
from tests.infra.template import synthesized

SCHEDULE = {"FlexibleTimeWindow": {"Mode": "OFF"}, "ScheduleExpression": "rate(1 hour)"}
TARGET = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:any", "RoleArn": "arn:aws:iam::123456789012:role/any"}


@pytest.fixture
def schedules(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Returns a function that reads the state of each schedule of production, by the schedule's logical id."""
    ids = list(synthesized("production").all("AWS::Scheduler::Schedule"))
    monkeypatch.setattr(Stack, "resources", lambda *_: {id_: id_ for id_ in ids})
    scheduler = operator.session.client("scheduler")
    for id_ in ids:
        scheduler.create_schedule(Name=id_, Target=TARGET, **SCHEDULE)
    return lambda: {id_: scheduler.get_schedule(Name=id_)["State"] for id_ in ids}


@pytest.mark.parametrize(
    ("part", "stopped"),
    [
        (["reconciler"], "Reconciler"),
        (["heartbeat", "slack"], "HeartbeatSlack"),
        (["heartbeat", "email"], "HeartbeatE"),
    ],
)
def test_each_schedule_of_a_production_stack_can_be_disabled_and_enabled_without_changing_the_others(
    operator: Operator,
    schedules: Callable[[], dict[str, str]],
    part: list[str],
    stopped: str,
) -> None:
    assert operator.run("disable", *part, "--yes").exit_code == 0
    assert [id_.startswith(stopped) for id_, state in schedules().items() if state == "DISABLED"] == [True]
    assert operator.run("enable", *part).exit_code == 0
    assert set(schedules().values()) == {"ENABLED"}


@pytest.mark.parametrize("part", [["heartbeat"], ["heartbeat", "callback"], ["stream", "slack"], ["consumer"]])
def test_disabling_an_unknown_part_of_the_stack_is_an_error(operator: Operator, part: list[str]) -> None:
    result = operator.run("enable", *part)
    error = "pass no NAME with" if part[0] == "stream" else "name a channel after"
    assert (result.exit_code, result.stderr.startswith(f"Error: {error} ")) == (1, True)
