"""Tests the checks of `make bootstrap` before the CDK runs."""

import os
from collections.abc import Sequence

import pytest
from botocore.exceptions import NoCredentialsError
from moto import mock_aws

from deployment import bootstrap, facts

HERE = "aws://123456789012/eu-central-1"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The arguments of each call of the CDK. A fake replaces the CDK."""
    commands: list[Sequence[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, arguments: commands.append(arguments[1:]))
    return commands


def test_make_bootstrap_passes_its_arguments_to_the_cdk(commands: list[Sequence[str]]) -> None:
    with mock_aws():
        bootstrap.main([HERE, "--qualifier", "mine"])
    assert commands == [["bootstrap", HERE, "--qualifier", "mine"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Name the account and the region: make bootstrap ARGS=aws://ACCOUNT/REGION"),
        (["aws://123456789012"], "Name the account and the region"),
        (["aws://210987654321/eu-central-1"], "these credentials are of 123456789012"),
        ([HERE, "--profile", "nobody"], "there is no such AWS profile"),
    ],
)
def test_make_bootstrap_refuses_a_missing_target_and_credentials_of_another_account(
    commands: list[Sequence[str]], arguments: list[str], expected: str
) -> None:
    with mock_aws(), pytest.raises(SystemExit, match=expected):
        bootstrap.main(arguments)
    assert commands == []


def test_make_bootstrap_without_credentials_says_how_to_get_them(
    commands: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def caller(_: facts.Clients) -> facts.Caller:
        raise NoCredentialsError

    monkeypatch.setattr(facts, "caller", caller)
    with pytest.raises(SystemExit, match="no AWS credentials: set AWS_PROFILE"):
        bootstrap.main([HERE])
    assert commands == []
