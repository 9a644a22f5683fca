"""Fixtures: the command line on the real functions, with moto for AWS."""

from collections.abc import Callable

import boto3
import pytest

from assistance.routing import DESTINATIONS
from cli import stack as stacks
from local.slack_server import SlackServer
from tests.cli.steps import Killed, Operator
from tests.integration.cloud import Cloud
from tests.integration.conftest import slack, stack

__all__ = ["slack", "stack"]


@pytest.fixture
def operator(stack: Cloud, slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> Operator:
    outputs = {"TableName": "table"}
    for channel in DESTINATIONS:
        name = channel.capitalize()
        outputs |= {
            f"{name}QueueUrl": stack.queues[channel],
            f"{name}DlqUrl": stack.dlqs[channel],
            f"{name}SubscriptionDlqUrl": stack.subscription_dlqs[channel],
        }
    session = boto3.Session()
    operator = Operator(stack, slack, session, outputs)
    monkeypatch.setenv("ASSISTANCE_STACK", "assistance-dev")
    deployed: Callable[..., stacks.Stack] = lambda name, **_: stacks.Stack(name, session, None, operator.outputs)  # noqa: E731
    monkeypatch.setattr(stacks, "deployed", deployed)

    def pass_unless_killed(**_: object) -> None:
        if operator.is_killed.is_set():
            raise Killed

    session.events.register("before-call.sqs.*", pass_unless_killed)
    return operator
