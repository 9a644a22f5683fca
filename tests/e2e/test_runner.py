"""Tests `python -m local`: each way to stop it works and leaves no process behind, and errors are reported."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from console.origin_checks import HOST
from local.cloud import DEFAULT_PORT
from local.deploy import ROOT
from local.slack import LOCAL_CHANNEL
from local.slack_server import SlackServer
from local.slack_workspace import OURS
from local.wait import until
from tests.e2e.runner import (
    AT_A_TERMINAL,
    ENVIRONMENT,
    IN_THE_BACKGROUND,
    START_SECONDS,
    Runner,
    wait_until_ended,
    wait_until_stopped,
)

CTRL_C = b"\x03"


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Runner]]:
    """Two runs at the same time, since each takes a while to start. The default port is in use.

    One runs at a terminal, with the local Slack server. The other one runs in the background without standard input,
    with another Slack, which refuses every request. Both use the same template.
    """
    directory = tmp_path_factory.mktemp("runners")
    with ExitStack() as stack:
        with suppress(OSError):  # The port is in use.
            stack.enter_context(socket.create_server((HOST, DEFAULT_PORT)))
        slack = stack.enter_context(SlackServer(token="xoxb-test", channels=(LOCAL_CHANNEL,)))
        slack.fail("error", error="is_archived")
        refused = {"SLACK_API_URL": slack.url, "SLACK_BOT_TOKEN": "xoxb-test", "SLACK_CHANNEL": LOCAL_CHANNEL}
        started = {
            "terminal": Runner(directory / "terminal", prefix=AT_A_TERMINAL),
            "demo": Runner(
                directory / "demo",
                "demo",
                environment=refused,
                context={"slack_app_id": OURS.app_id},
                prefix=IN_THE_BACKGROUND,
            ),
        }
        for runner in started.values():
            stack.callback(runner.close)
        yield started


def test_the_local_stack_uses_another_port_if_the_default_port_is_in_use(runners: dict[str, Runner]) -> None:
    assert urlsplit(runners["terminal"].running()["aws_endpoint_url"]).port != DEFAULT_PORT


def test_a_second_local_stack_in_the_same_directory_is_refused(runners: dict[str, Runner]) -> None:
    runner = runners["terminal"]
    document = runner.running()
    second = Runner(runner.directory, "demo")
    assert second.exit_status() == 1
    assert f"already runs here, as process {document['pid']}" in runner.output
    assert runner.running() == document


def test_the_local_stack_prints_the_customers_data_in_slack_the_mail_and_who_has_taken_the_request(
    runners: dict[str, Runner],
) -> None:
    runner = runners["terminal"]
    runner.wait_for_output("Ctrl-C stops the stack")
    slack, _, rest = runner.output.replace("\r\n", "\n").partition("── Slack, ")[2].partition("── Email ")
    assert "   Name: Anna Keller\n" in slack
    assert "   Email: anna@example.com\n" in slack
    assert 'Anna clicks "I\'ll take it" in Slack: ' in rest
    assert ": @anna has taken " in rest


def test_ctrl_c_at_a_terminal_stops_every_process_of_the_local_stack(runners: dict[str, Runner]) -> None:
    runner = runners["terminal"]
    document = runner.running()
    runner.wait_for_output("Ctrl-C stops the stack")
    started = runner.descendants()
    runner.type(CTRL_C)
    assert runner.exit_status() == 0, runner.output
    wait_until_stopped(started, document)
    assert not (runner.directory / "stack.json").exists()


def test_make_demo_prints_the_fallback_mail_if_slack_refuses_the_request_and_ends(runners: dict[str, Runner]) -> None:
    runner = runners["demo"]
    assert runner.exit_status(START_SECONDS) == 0, runner.output
    assert "arrived by its fallback, because slack failed." in runner.output
    assert "── Email (sales)" in runner.output


@pytest.mark.parametrize(
    ("number", "prefix", "exit_status"),
    [(signal.SIGTERM, (), 143), (signal.SIGINT, IN_THE_BACKGROUND, 130), (signal.SIGKILL, (), -9)],
)
def test_no_process_keeps_running_after_the_start_of_the_local_stack_is_interrupted(
    tmp_path: Path, number: int, prefix: tuple[str, ...], exit_status: int
) -> None:
    runner = Runner(tmp_path, prefix=prefix)
    started = until("a process has begun", START_SECONDS, lambda: runner.descendants() or None)
    os.killpg(runner.process.pid, number)
    assert runner.exit_status() == exit_status
    wait_until_ended(started)
    assert not (runner.directory / "stack.json").exists()


@pytest.mark.parametrize(
    ("context", "environment", "words"),
    [
        ({"retention_days": "soon"}, {}, "retention_days: Input should be a valid integer"),
        ({}, {"SLACK_BOT_TOKEN": "xoxb-test"}, "SLACK_BOT_TOKEN is set, but SLACK_CHANNEL is not"),
        ({}, {"SLACK_CHANNEL": "C0TEST"}, "SLACK_CHANNEL is set, but SLACK_BOT_TOKEN is not"),
        ({}, {"PATH": "/nowhere"}, "The CDK needs Node.js"),
        ({}, {"PATH": "/nowhere", "PYTHONIOENCODING": "latin-1"}, "The CDK needs Node.js"),
    ],
)
def test_the_local_stack_refuses_an_invalid_configuration_with_a_readable_error(
    tmp_path: Path, context: dict[str, str], environment: dict[str, str], words: str
) -> None:
    runner = Runner(tmp_path, "demo", context=context, environment=environment)
    assert runner.exit_status(START_SECONDS) == 1
    assert "error: " in runner.output
    assert words in runner.output
    assert "Traceback" not in runner.output


def test_the_local_stack_prints_without_an_error_although_the_output_pipe_is_closed() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = "from local.main import print_line; print_line('one'); print_line('two')"
    try:
        command = [sys.executable, "-c", program]
        buffered = {**ENVIRONMENT, "PYTHONUNBUFFERED": ""}
        assert subprocess.run(command, cwd=ROOT, env=buffered, stdout=writer, check=False).returncode == 0
    finally:
        os.close(writer)
