"""What `assistance disable` and `enable` guarantee."""

import pytest

from cli.stack import Stack
from tests.cli.steps import Operator
from tests.infra.template import synthesized

TARGET = {"Arn": "arn:aws:lambda:us-east-1:123456789012:function:one", "RoleArn": "arn:aws:iam::123456789012:role/one"}


@pytest.mark.parametrize("variant", ["dev", "production", "every channel"])
def test_the_reconciler_alone_is_switched_whatever_else_has_a_schedule(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    resources = synthesized(variant).document["Resources"]
    names = [name for name, each in resources.items() if each["Type"] == "AWS::Scheduler::Schedule"]
    monkeypatch.setattr(Stack, "resources", lambda *_: {name: name for name in names})
    client = operator.session.client("scheduler")
    for name in names:
        when = {"ScheduleExpression": "rate(1 minute)", "FlexibleTimeWindow": {"Mode": "OFF"}}
        client.create_schedule(Name=name, Target=TARGET, State="ENABLED", **when)

    def disabled() -> list[str]:
        return [name for name in names if client.get_schedule(Name=name)["State"] == "DISABLED"]

    before_and_after = {"part": "reconciler", "before": "enabled", "after": "disabled"}
    assert operator.json("disable", "reconciler", "--yes") == before_and_after
    assert len(disabled()) == 1
    assert disabled()[0].startswith("Reconciler")
    assert operator.run("enable", "reconciler").exit_code == 0
    assert disabled() == []
