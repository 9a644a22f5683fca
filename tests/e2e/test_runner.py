"""Tests `python -m local`: each way to stop it works and leaves no process behind, and errors are reported."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from console.origin_checks import HOST
from local.cloud import USUAL_PORT
from local.deploy import ROOT
from local.slack_server import SlackServer
from local.wait import until
from tests.e2e.runner import (
    AT_A_TERMINAL,
    ENVIRONMENT,
    IN_THE_BACKGROUND,
    START_SECONDS,
    Runner,
    wait_until_closed,
    wait_until_ended,
)

CTRL_C = b"\x03"


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Runner]]:
    """Several runs at the same time, since each takes a while to start. The default port is in use."""
    directory = tmp_path_factory.mktemp("runners")
    with ExitStack() as stack:
        with suppress(OSError):  # The port is in use.
            stack.enter_context(socket.create_server((HOST, USUAL_PORT)))
        slack = stack.enter_context(SlackServer(token="xoxb-test", channels=("C0TEST",)))
        slack.fail("error", error="is_archived")
        refused = {"SLACK_API_URL": slack.url, "SLACK_BOT_TOKEN": "xoxb-test", "SLACK_CHANNEL": "C0TEST"}
        started = {
            "terminal": Runner(directory / "terminal", prefix=AT_A_TERMINAL),
            "background": Runner(directory / "background", prefix=IN_THE_BACKGROUND),
            "killed": Runner(directory / "killed"),
            "demo": Runner(directory / "demo", "demo"),
            "fallback demo": Runner(directory / "fallback demo", "demo", environment=refused),
            "failing demo": Runner(
                directory / "failing demo", "demo", environment=refused, context={"create_email_identity": "false"}
            ),
        }
        for runner in started.values():
            stack.callback(runner.close)
        yield started


def stops(runner: Runner, stop: Callable[[], None], *, exit_status: int) -> None:
    """Assert that the function `stop` stops the runner, and that no process and no listening socket remains."""
    document = runner.running()
    runner.wait_for_output("Ctrl-C stops the stack")
    started = runner.descendants()
    stop()
    assert runner.exit_status() == exit_status, runner.output
    wait_until_ended(started)
    wait_until_closed(document["aws_endpoint_url"])
    wait_until_closed(document["slack_api_url"])
    wait_until_closed(document["console_url"])


def test_ctrl_c_at_a_terminal_stops_every_process_of_the_local_stack(runners: dict[str, Runner]) -> None:
    runner = runners["terminal"]
    stops(runner, lambda: runner.type(CTRL_C), exit_status=0)
    assert not (runner.directory / "stack.json").exists()


def test_sigint_stops_a_local_stack_that_runs_in_the_background_without_standard_input(
    runners: dict[str, Runner],
) -> None:
    runner = runners["background"]
    stops(runner, lambda: os.kill(runner.running()["pid"], signal.SIGINT), exit_status=0)
    assert not (runner.directory / "stack.json").exists()


def test_a_second_local_stack_in_the_same_directory_is_refused(runners: dict[str, Runner]) -> None:
    runner = runners["killed"]
    document = runner.running()
    second = Runner(runner.directory, "demo")
    assert second.exit_status() == 1
    assert f"already runs here, as process {document['pid']}" in runner.output
    assert runner.running() == document


def test_no_process_of_the_local_stack_survives_after_its_main_process_is_killed(runners: dict[str, Runner]) -> None:
    runner = runners["killed"]
    stops(runner, runner.process.kill, exit_status=-signal.SIGKILL)


@pytest.mark.parametrize(("number", "exit_status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_no_process_keeps_running_after_the_start_of_the_local_stack_is_interrupted(
    tmp_path: Path, number: int, exit_status: int
) -> None:
    runner = Runner(tmp_path)
    started = until("a process has begun", START_SECONDS, lambda: runner.descendants() or None)
    os.killpg(runner.process.pid, number)
    assert runner.exit_status() == exit_status
    wait_until_ended(started)


def test_the_local_stack_uses_another_port_if_the_default_port_is_in_use(runners: dict[str, Runner]) -> None:
    runner = runners["demo"]
    runner.exit_status(START_SECONDS)
    urls = [word for word in runner.output.split() if word.startswith(f"http://{HOST}:")]
    assert urls
    assert USUAL_PORT not in {urlsplit(url).port for url in urls}


def test_make_demo_prints_the_slack_message_and_the_mail(runners: dict[str, Runner]) -> None:
    runner = runners["demo"]
    assert runner.exit_status(START_SECONDS) == 0, runner.output
    assert "── Slack, " in runner.output
    assert "── Email " in runner.output


def test_make_demo_prints_the_customers_data_in_slack_and_who_has_taken_the_request(runners: dict[str, Runner]) -> None:
    runner = runners["demo"]
    runner.exit_status(START_SECONDS)
    slack, _, rest = runner.output.partition("── Slack, ")[2].partition("── Email ")
    assert "   Name: Anna Keller\n" in slack
    assert "   Email: anna@example.com\n" in slack
    assert 'Anna clicks "I\'ll take it" in Slack: ' in rest
    assert ": @anna has taken " in rest


def test_make_demo_prints_the_fallback_mail_if_slack_refuses_the_request(runners: dict[str, Runner]) -> None:
    runner = runners["fallback demo"]
    assert runner.exit_status(START_SECONDS) == 0, runner.output
    assert "arrived by its fallback, because slack failed." in runner.output
    assert "── Email (sales)" in runner.output


def test_make_demo_fails_and_prints_the_reason_if_slack_and_email_both_refuse_the_request(
    runners: dict[str, Runner],
) -> None:
    runner = runners["failing demo"]
    assert runner.exit_status(START_SECONDS) == 1, runner.output
    assert "request can't be delivered" in runner.output
    assert "slack: failed after is_archived" in runner.output
    assert "email: failed after MessageRejected" in runner.output


@pytest.mark.parametrize(
    ("context", "environment", "words"),
    [
        ({"retention_days": "soon"}, {}, "retention_days: Input should be a valid integer"),
        ({}, {"SLACK_BOT_TOKEN": "xoxb-test"}, "SLACK_BOT_TOKEN is set, but SLACK_CHANNEL is not"),
        ({}, {"SLACK_CHANNEL": "C0TEST"}, "SLACK_CHANNEL is set, but SLACK_BOT_TOKEN is not"),
        ({}, {"PATH": "/nowhere"}, "The CDK needs Node.js"),
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
    program = "from local.__main__ import say; say('one'); say('two')"
    try:
        command = [sys.executable, "-c", program]
        buffered = {**ENVIRONMENT, "PYTHONUNBUFFERED": ""}
        assert subprocess.run(command, cwd=ROOT, env=buffered, stdout=writer, check=False).returncode == 0
    finally:
        os.close(writer)
