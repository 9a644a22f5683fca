"""Tests the checks that `make deploy` runs after a deployment."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from cli import after_deployment, smoke, stack
from cli.findings import Finding, State
from cli.smoke import Result
from cli.stack import Stack

ARN = "arn:aws:sns:eu-central-1:123456789012:assistance-staging-Topic"
READY = Finding("Slack token", State.OK, "accepted")
SENT = Result("sales", "id", ("slack",), None)


@pytest.fixture
def run_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Returns a function that runs the checks with given findings and results of test requests.

    The function returns the exit status, and whether test requests were sent.
    """
    path = tmp_path / "deployed.json"
    path.write_text(json.dumps({"assistance-staging": {"TopicArn": ARN}}))

    def ended(findings: list[Finding], results: list[Result]) -> tuple[int, bool]:
        requested, sent = [], []

        def found(name: str, **where: str | None) -> Stack:
            requested.append((name, where))
            return Stack(name, boto3.Session(), None, {})

        def run(*_: object) -> list[Result]:
            sent.append(True)
            return results

        monkeypatch.setattr(stack, "deployed", found)
        monkeypatch.setattr(after_deployment, "examine", lambda _: findings)
        monkeypatch.setattr(smoke, "run", run)
        status = after_deployment.main([str(path), "-c", "stage=staging", "--profile", "work"])
        assert requested == [("assistance-staging", {"profile": "work", "region": "eu-central-1"})]
        return status, bool(sent)

    return ended


@pytest.mark.parametrize(
    ("findings", "results", "status", "sent"),
    [
        ([READY], [SENT], 0, True),
        ([READY, Finding("Dead letters", State.WRONG, "1")], [SENT], 0, True),
        ([READY, Finding("API domain", State.WRONG, "api.company.io does not resolve")], [SENT], 0, True),
        ([READY, Finding("Slack", State.UNKNOWN, "could not look")], [SENT], 0, True),
        ([READY, Finding("SES quota", State.WARNING, "nearly used up")], [SENT], 0, True),
        ([READY], [SENT, Result("pricing", "id", (), "not delivered in time")], 1, True),
        ([Finding("Slack token", State.WRONG, "the secret has no value")], [SENT], 1, False),
    ],
    ids=[
        "ready",
        "dead letters of an earlier outage",
        "a domain without its DNS record",
        "a role that may not look",
        "a warning",
        "a topic that fails",
        "no token yet",
    ],
)
def test_make_deploy_fails_if_a_check_of_the_stack_fails_or_a_test_request_is_not_delivered(
    run_checks: Any,  # noqa: ANN401
    findings: list[Finding],
    results: list[Result],
    status: int,
    sent: bool,  # noqa: FBT001
) -> None:
    assert run_checks(findings, results) == (status, sent)
