"""Tests `assistance list` and `watch`. The tests of `send` are in tests/e2e, because it needs a running API."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import timedelta

import pytest
import time_machine

from assistance.platform.clock import utc_now
from assistance.routing import Channel
from cli.commands import requests as commands
from tests.cli.steps import Operator, Result
from tests.integration.cloud import forget


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "sleep", lambda _: None)


def test_the_list_command_selects_requests_by_status_and_age(operator: Operator) -> None:
    with time_machine.travel(utc_now() - timedelta(hours=3), tick=True):
        old = operator.cloud.post("pricing", "secret words")
    operator.slack.fail("error", error="is_archived")
    failed = operator.cloud.post("sales", "secret words")
    operator.cloud.produce()
    operator.deliver()
    new = operator.cloud.post("pricing", "secret words")

    def ids(*options: str) -> list[str]:
        return [request["id"] for request in operator.json("list", *options)]

    assert ids() == [new, failed]
    assert ids("--since", "1d") == [new, failed, old]
    assert ids("--since", "1d", "--older-than", "2h") == [old]
    assert ids("--since", "1d", "--status", "failed") == [failed]
    assert ids("--since", "1d", "--status", "failed", "--status", "published") == [failed, old]
    limited = operator.run("list", "--since", "1d", "--limit", "1")
    assert (failed in limited.stdout, new in limited.stdout, "may be more" in limited.stderr) == (False, True, True)
    assert "secret words" not in limited.stdout + json.dumps(operator.json("list"))
    assert "is_archived" in operator.run("list").stdout


@pytest.mark.parametrize("age", ["", "5", "m", "5x", "-5m", "5 m", "\N{ARABIC-INDIC DIGIT FIVE}m"])
def test_the_list_command_refuses_an_invalid_age(operator: Operator, age: str) -> None:
    result = operator.run("list", "--since", age)
    assert (result.exit_code, "90s, 5m, 2h" in result.stderr) == (2, True)


@pytest.mark.parametrize("command", ["list", "ledger"])
@pytest.mark.parametrize("age", ["36501d", f"{2**63}s", f"1{'0' * 5_000}m"])
def test_the_list_command_refuses_an_age_that_is_too_large_for_a_date(
    operator: Operator, command: str, age: str
) -> None:
    result = operator.run(command, "--since", age)
    assert (result.exit_code, "36500d" in result.stderr) == (2, True)


def watched(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, request_id: str, *turns: Callable[[], object]
) -> Result:
    """Run `watch --json`. Whenever the command would sleep, the next of `turns` is called instead."""
    left = iter(turns)

    def turn(_: float) -> None:
        with redirect_stdout(io.StringIO()):
            next(left)()

    monkeypatch.setattr(commands, "sleep", turn)
    return operator.run("watch", request_id, "--json")


@pytest.mark.parametrize("both", [False, True])
def test_the_watch_command_prints_each_event_once_and_its_exit_status_tells_whether_the_request_was_delivered(
    operator: Operator,
    monkeypatch: pytest.MonkeyPatch,
    both: bool,  # noqa: FBT001
) -> None:
    """The request fails on Slack. `both`: its fallback by email fails, too."""
    request_id = operator.cloud.post("sales")
    operator.slack.fail("error", error="is_archived")
    if both:
        monkeypatch.setenv("EMAIL_SENDER", "unknown@example.com")
        forget()

    def by_email() -> None:
        operator.cloud.produce()
        operator.deliver(Channel.EMAIL)

    result = watched(operator, monkeypatch, request_id, operator.cloud.produce, operator.deliver, by_email)
    steps = [json.loads(line) for line in result.stdout.splitlines()]
    end = "failed" if both else "delivered"
    assert [(step["what"], step["channel"]) for step in steps if step["what"] != "published"] == [
        ("accepted", None),
        ("failed", "slack"),
        (end, "email"),
    ]
    assert "published" in {step["what"] for step in steps}
    assert (result.exit_code, "the request has failed" in result.stderr) == ((1, True) if both else (0, False))


def test_the_watch_command_stops_waiting_after_the_given_time(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = operator.cloud.post("sales")
    clock = iter(range(0, 1_000, 4))
    monkeypatch.setattr(commands, "monotonic", lambda: next(clock))
    result = operator.run("watch", request_id, "--timeout", "10")
    assert (result.exit_code, "still accepted after 10 s" in result.stderr) == (1, True)


def test_the_watch_command_follows_a_resend_until_the_resend_is_delivered_or_failed(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = operator.cloud.post("sales")
    operator.cloud.produce()
    operator.deliver()
    act = operator.json("resend", request_id, "--channel", "slack", "--yes")["act"]
    result = watched(operator, monkeypatch, request_id, operator.cloud.produce, operator.deliver)
    steps = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(step["what"], step["resend"]) for step in steps if step["channel"]] == [
        ("delivered", None),
        ("delivered", act),
    ]
    assert result.exit_code == 0
    result = operator.run("watch", request_id)
    assert "slack   delivered  of an operator's resend" in result.stdout
    assert f"Request: {request_id}" in result.stderr


def test_the_watch_command_marks_an_attempt_in_doubt_with_the_word_of_the_glossary(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.slack.fail("status", status=503)
    request_id = operator.cloud.post("sales")
    operator.cloud.produce()
    operator.deliver()
    clock = iter(range(0, 1_000, 4))
    monkeypatch.setattr(commands, "monotonic", lambda: next(clock))
    result = operator.run("watch", request_id, "--timeout", "10")
    assert "slack   retrying   http_503, in doubt: it may have arrived" in result.stdout, result.output
