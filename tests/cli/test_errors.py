"""Tests error messages: one line that says what to do, and exit status 1."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import boto3
import pytest
from moto import mock_aws

from cli import init, stack
from local.cloud import new_root_key
from local.deploy import ROOT
from tests.command_line import run
from tests.http_server import serving

LIST = ("dead-letters", "list")
FUNCTION: Final = {"ResourceType": "AWS::Lambda::Function"}
TEMPLATE: Final = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})


class Refusing(BaseHTTPRequestHandler):
    """A server that answers every call with an error in the format of CloudFormation's Query protocol."""

    code: str

    def do_POST(self) -> None:
        body = f"<ErrorResponse><Error><Code>{self.code}</Code><Message>No.</Message></Error></ErrorResponse>"
        self.send_response(400)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Portal(BaseHTTPRequestHandler):
    """A server that answers every call with a web page, as the log-in page of a network does."""

    def do_POST(self) -> None:
        page = b"<html><title>Log in</title></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with serving(Refusing) as address:
        yield address


def one_line(*arguments: str) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ValidationError", "there is no stack elsewhere in us-east-1: pass --stack"),
        ("AccessDenied", "lack the permission for DescribeStacks"),
        ("ExpiredToken", "log in again"),
    ],
)
def test_an_error_response_of_aws_is_printed_as_one_line_with_advice(
    refusing: str, code: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", refusing)
    monkeypatch.setattr(Refusing, "code", code, raising=False)
    assert advice in one_line("--stack", "elsewhere", *LIST)


def test_a_command_without_a_stack_name_does_nothing_and_lists_the_stacks_of_the_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ASSISTANCE_STACK", raising=False)
    with mock_aws():
        cloudformation = boto3.client("cloudformation", "us-east-1")
        for name, application in (("assistance-staging", "assistance"), ("others", "other")):
            tags: Any = [{"Key": "application", "Value": application}]
            cloudformation.create_stack(StackName=name, TemplateBody=TEMPLATE, Tags=tags)
        said = one_line("--region", "us-east-1", *LIST)
    assert "pass --stack assistance-<stage>" in said
    assert "--local" in said
    assert "In us-east-1 there are: assistance-staging." in said


def test_the_option_stack_overrides_the_stack_name_in_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSISTANCE_STACK", "assistance-staging")
    with mock_aws():
        assert "no stack assistance-staging" in one_line("--region", "us-east-1", *LIST)
        assert "no stack assistance-production" in one_line(
            "--region", "us-east-1", "--stack", "assistance-production", *LIST
        )


@pytest.mark.parametrize("command", [(), ("list",), ("status",), ("watch",), ("dead-letters", "redrive")])
def test_help_shows_no_python_types(command: tuple[str, ...]) -> None:
    shown = run(*command, "--help").stdout
    assert not re.search("<(bool|str|int|list|int range)", shown)


def test_an_aws_call_without_a_response_is_reported_as_one_line_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "AWS_ENDPOINT_URL" in one_line("--stack", "assistance-dev", *LIST)


def test_missing_credentials_or_a_missing_region_are_reported_as_one_line_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("ASSISTANCE_STACK", "assistance-dev")
    assert "--region" in one_line(*LIST)
    assert "aws sso login" in one_line("--region", "us-east-1", *LIST)
    assert "profile" in one_line("--profile", "nobody", *LIST)


@pytest.mark.parametrize("variables", [{"AWS_DEFAULT_REGION": ""}, {"AWS_DEFAULT_REGION": "", "AWS_REGION": ""}])
def test_an_empty_region_in_the_environment_is_reported_like_a_missing_one(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert "no AWS region: set AWS_REGION, or pass --region" in one_line("--stack", "assistance-dev", *LIST)
    assert init.from_credentials() == {}


def test_an_empty_region_on_the_command_line_is_reported_like_a_missing_one() -> None:
    assert "no AWS region" in one_line("--stack", "assistance-dev", "--region", "", *LIST)


@pytest.mark.parametrize("address", ["localhost:4566", "127.0.0.1:4566", "nonsense"])
def test_an_endpoint_that_is_no_url_is_reported_as_one_line_with_advice(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    said = one_line("--stack", "assistance-dev", *LIST)
    assert f"AWS_ENDPOINT_URL is '{address}', which is no URL" in said


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_whose_encoding_lacks_a_character_shows_a_question_mark(encoding: str) -> None:
    finding = "Finding('a check', State.OK, 'fine \\U0001f642')"
    program = f"""
from cli import app, render
from cli.findings import Finding, State
app.app = lambda **_: render.finding({finding})
app.main()
"""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert shown.stdout == b"? a check: fine ?\n"


def test_a_missing_local_stack_is_reported_as_one_line_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "LOCAL", tmp_path / "stack.json")
    assert "make run" in one_line("--local", *LIST)
    describe(tmp_path / "stack.json", "http://127.0.0.1:1")
    assert "make run" in one_line("--local", *LIST)


def describe(path: Path, endpoint_url: str) -> None:
    """Write the description that a local stack with this address leaves for the commands."""
    described = {
        "region": "us-east-1",
        "credentials": new_root_key(),
        "stack_name": "assistance-dev",
        "aws_endpoint_url": endpoint_url,
    }
    path.write_text(json.dumps(described), "utf-8")


def test_an_answer_of_another_server_than_aws_is_reported_as_one_line_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Portal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        said = one_line("--stack", "assistance-dev", *LIST)
        assert "the answer can't be read, so perhaps it is not from AWS" in said
        monkeypatch.setattr(stack, "LOCAL", tmp_path / "stack.json")
        describe(tmp_path / "stack.json", address)
        assert "start it again with 'make run'" in one_line("--local", *LIST)


def test_a_command_for_the_local_stack_calls_no_proxy(
    refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refusing, "code", "ValidationError", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "elsewhere.example")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setattr(stack, "LOCAL", tmp_path / "stack.json")
    describe(tmp_path / "stack.json", refusing)
    assert "there is no stack assistance-dev" in one_line("--local", *LIST)


@pytest.mark.parametrize(
    "command",
    [(), ("dead-letters",), *(("dead-letters", name) for name in ("list", "show", "redrive", "discard"))]
    + [(name,) for name in ("status", "resend", "ledger", "reconcile")],
)
def test_the_help_text_of_every_command_contains_an_example(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example: assistance " in result.stdout


@pytest.mark.parametrize("option", ["stack", "profile", "region"])
def test_the_options_region_and_profile_cannot_be_combined_with_the_option_local(option: str) -> None:
    result = run("--local", f"--{option}", "x", *LIST)
    assert result.exit_code == 2
    assert f"no --{option}" in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("command", [("enable", "foo"), ("dead-letters", "list", "--channel", "foo")])
def test_the_error_about_an_unknown_value_lists_the_known_values_in_plain_words(
    command: tuple[str, ...],
) -> None:
    result = run("--stack", "assistance-dev", *command)
    error = " ".join(result.stderr.replace("│", " ").split())
    assert result.exit_code == 2
    assert re.search(r": 'foo' is not one of '\w+', '\w+'", error), error


@pytest.mark.parametrize("unnamed", [{}, {"PhysicalResourceId": ""}])
def test_a_function_that_cloudformation_is_still_creating_does_not_hide_the_others(unnamed: dict[str, str]) -> None:
    """An operator needs the commands during a deployment, too. CloudFormation may list a resource without its name."""
    listed = [
        {"LogicalResourceId": "ApiFunction1A2B3C4D", "PhysicalResourceId": "stack-Api", **FUNCTION},
        {"LogicalResourceId": "TakePageFunction5E6F7A8B", **unnamed, **FUNCTION},
    ]
    session: Any = boto3.Session("key", "secret", region_name="us-east-1")
    session.events.register(
        "before-call.cloudformation.ListStackResources",
        lambda **_: (SimpleNamespace(status_code=200), {"StackResourceSummaries": listed}),
    )
    assert stack.Stack("assistance-dev", session, None, {}).functions() == {"api": "stack-Api"}
