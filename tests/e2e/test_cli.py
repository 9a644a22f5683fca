"""Tests the operator's command line on the running stack."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import Result

from cli import stack
from tests import command_line
from tests.e2e.bot import Bot
from tests.e2e.runner import Runner


@pytest.fixture(autouse=True)
def here(bot: Bot, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> Path:  # the function runs
    path = runner.directory / "stack.json"
    monkeypatch.setattr(stack, "LOCAL", path)
    return path


def run(*arguments: str, typed: str | None = None) -> Result:
    return command_line.run("--local", *arguments, typed=typed)


def test_the_send_command_with_the_option_watch_waits_until_the_request_is_delivered(bot: Bot) -> None:
    result = run("send", "sales", "-", "--watch", "--json", typed="By hand\n")
    assert result.exit_code == 0, result.output
    steps = [json.loads(line) for line in result.stdout.splitlines()]
    assert (steps[0]["what"], steps[-1]["what"], steps[-1]["channel"]) == ("accepted", "delivered", "slack")
    newest = json.loads(run("list", "--limit", "1", "--json").stdout)[0]
    assert (newest["topic"], newest["status"], bot.posted()[newest["id"]]) == ("sales", "delivered", 1)


def test_the_send_command_run_twice_with_the_same_idempotency_key_creates_one_request() -> None:
    ids = {run("send", "pricing", "Twice", "--idempotency-key", "by-hand").stdout for _ in range(2)}
    assert len(ids) == 1


def test_the_send_command_prints_an_error_response_of_the_api_as_one_line() -> None:
    result = run("send", "sales", "")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 2)
    assert "/description" in result.stderr


def test_the_env_command_prints_the_variables_needed_to_call_the_api_and_to_verify_callbacks(bot: Bot) -> None:
    printed = run("env").stdout
    shell = subprocess.run(
        ["bash", "-euc", f'{printed}\necho "$API_URL $API_KEY $CALLBACK_SECRET"'],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    secret = bot.stack["callback_secret"].split()[0]
    assert shell.stdout.split() == [bot.stack["api_url"], bot.stack["api_key"], secret]


def test_messages_wait_while_a_consumer_is_disabled_and_are_delivered_after_the_consumer_is_enabled_again(
    bot: Bot,
) -> None:
    assert json.loads(run("disable", "consumer", "slack", "--yes", "--json").stdout)["after"] == "disabled"
    try:
        request_id = bot.post("sales", "While it is stopped")
        assert json.loads(run("disable", "consumer", "slack", "--yes", "--json").stdout)["before"] == "disabled"
        assert bot.posted()[request_id] == 0
    finally:
        assert json.loads(run("enable", "consumer", "slack", "--json").stdout)["after"] == "enabled"
    bot.until_status(request_id, "delivered")
    lines = json.loads(run("logs", "--request", request_id, "--json").stdout)
    assert ("api", "accepted") in {(line["function"], line["message"]) for line in lines}
    assert "While it is stopped" not in json.dumps(lines)


def test_the_doctor_command_reports_no_problem_of_a_new_local_stack_except_about_alarms() -> None:
    findings = json.loads(run("doctor", "--json").stdout)
    assert {it["check"] for it in findings if it["state"] != "ok"} <= {"Alarms", "Dead letters"}
    assert {"Slack channel", "SES account", "SES sender", "Schedule of the reconciler"} <= {
        it["check"] for it in findings
    }


def test_the_smoke_command_passes_on_a_working_stack_and_its_messages_say_that_they_are_tests(bot: Bot) -> None:
    result = run("smoke", "--json", "--timeout", "60")
    assert result.exit_code == 0, result.output
    by = {it["topic"]: it["by"] for it in json.loads(result.stdout)}
    assert by == {"sales": ["slack"], "pricing": ["email"]}
    for it in json.loads(result.stdout):
        assert bot.show(it["request_id"])["taken"]["by"] == "the smoke test", "no human need take it"


def test_a_resent_request_is_delivered_a_second_time_and_counted_by_the_ledger_command(bot: Bot) -> None:
    request_id = bot.post("sales", "Once more")
    bot.until_status(request_id, "delivered")
    assert run("resend", request_id, "--channel", "slack", "--yes").exit_code == 0
    watched = run("watch", request_id, "--json")
    assert watched.exit_code == 0, watched.output
    assert json.loads(watched.stdout.splitlines()[-1])["what"] == "delivered"
    assert bot.posted()[request_id] == 2
    ledger = json.loads(run("ledger", "--json").stdout)
    assert request_id not in ledger["open"]
    assert (ledger["unaccounted"], ledger["unreadable"]) == ([], [])
    assert ledger["accepted"]["sales"] >= 1
