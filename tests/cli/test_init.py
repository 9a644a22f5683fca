"""Tests `assistance init`: it writes a stage file that can be deployed, or writes no file."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from moto import mock_aws
from typer.testing import Result

from cli import init
from cli.errors import Failure
from infra.stages import load, settings
from tests import command_line
from tests.unit.test_stage_files import PRODUCTION

Run: TypeAlias = Callable[..., Result]
TEXTS = {key: ",".join(value) if isinstance(value, list) else value for key, value in PRODUCTION.items()}
GIVEN = [f"{key}={text}" for key, text in TEXTS.items()]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("cli.init.DIRECTORY", tmp_path / "stages")
    monkeypatch.chdir(tmp_path)
    return partial(command_line.run, "init")


def test_the_stage_file_written_by_init_contains_the_given_settings(run: Run, tmp_path: Path) -> None:
    done = run("production", *GIVEN, "take=true", "retention_days=40")
    assert (done.exit_code, done.stdout) == (0, "stages/production.json\n")
    written = json.loads((tmp_path / "stages/production.json").read_text("utf-8"))
    assert written == {"$schema": "./schema.json", **PRODUCTION, "take": True, "retention_days": 40}
    expected = load({"stage": "production", **PRODUCTION, "take": True, "retention_days": 40})
    assert settings({"stage": "production"}, tmp_path / "stages") == expected


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["production"], 1, "production needs operator_email: the address that gets the alarms"),
        (["production", "operator_mail=a@b.io"], 1, "did you mean 'operator_email'?"),
        (["production", "take"], 1, "'take' is not KEY=VALUE"),
        (["production", *GIVEN, "local=true"], 1, "leave out local=…"),
        (["production", *GIVEN, "stage=dev"], 1, "leave out stage=…"),
        (["prod"], 2, "a stage is one of dev, staging, production"),
    ],
)
def test_init_does_not_write_settings_that_cannot_be_deployed(
    run: Run,
    tmp_path: Path,
    arguments: list[str],
    status: int,
    said: str,
) -> None:
    done = run(*arguments)
    assert done.exit_code == status
    assert said in done.stderr
    assert not (tmp_path / "stages").exists()


@pytest.mark.parametrize(("key", "end"), [("zzzz", "lists all keys.\n"), ("tak", "did you mean 'take'?\n")])
def test_an_error_of_init_ends_with_one_punctuation_mark(run: Run, key: str, end: str) -> None:
    said = run("staging", f"{key}=1").stderr
    assert said.endswith(end), said


def test_init_replaces_an_existing_stage_file_only_with_confirmation(run: Run, tmp_path: Path) -> None:
    assert run("dev", "take=true").exit_code == 0
    again = run("dev", "take=false")
    assert (again.exit_code, "stages/dev.json exists already" in again.stderr) == (1, True)
    assert settings({}, tmp_path / "stages").take
    assert run("dev", "take=false", "--force").exit_code == 0
    assert not settings({}, tmp_path / "stages").take


def test_init_at_a_terminal_says_that_the_file_exists_before_it_asks_anything(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("dev", "take=true").exit_code == 0
    asked: list[str] = []

    def ask(question: str, _: str | None) -> str:
        asked.append(question)
        return ""

    monkeypatch.setattr(init, "at_a_terminal", lambda: True)
    monkeypatch.setattr(init, "from_credentials", dict)
    monkeypatch.setattr(init, "prompt", ask)
    again = run("dev")
    assert (again.exit_code, "exists already" in again.stderr, asked) == (1, True, [])


def test_init_at_a_terminal_asks_for_missing_settings_and_proposes_the_account_and_region_of_the_credentials() -> None:
    proposals: list[tuple[str, str | None]] = []

    def ask(question: str, known: str | None) -> str:
        proposals.append((question.partition(":")[0], known))
        return known or ""

    answers = init.ask_for_settings({"operator_email": "ops@company.io"}, ask, {"account": "123456789012"}, "dev")
    assert answers == {"operator_email": "ops@company.io", "account": "123456789012"}
    assert ("account", "123456789012") in proposals
    assert {key for key, _ in proposals} == init.ASKED_SETTINGS.keys() - {"operator_email"}


@pytest.mark.parametrize(
    ("key", "wrong", "said"),
    [
        ("account", "12", "account: String should match pattern"),
        ("region", "eu-centrl-1", "there is no AWS region 'eu-centrl-1': did you mean 'eu-central-1'?"),
        ("operator_email", "none", "operator_email: this is not an email address"),
        ("slack_channel", "sales", "production needs slack_channel: the id of the Slack channel, such as C0123456789"),
        ("runbook_url", "docs/operations.md", "production needs runbook_url: the full URL (https://…)"),
        ("email_recipients", "a@example.com", "set email_recipients to other than example.com"),
        ("email_sender", "a@other.io", "email_sender must be at email_domain: a@other.io is not at company.io"),
    ],
)
def test_init_asks_again_only_for_the_setting_whose_answer_was_invalid(
    capsys: pytest.CaptureFixture[str], key: str, wrong: str, said: str
) -> None:
    questions: list[str] = []

    def ask(question: str, _: str | None) -> str:
        name = question.partition(":")[0]
        questions.append(name)
        return wrong if name == key and questions.count(name) == 1 else TEXTS[name]

    given = {"email_domain": "company.io"}
    assert init.ask_for_settings(given, ask, {}, "production") == {**given, **TEXTS}
    assert questions == [name for name in init.ASKED_SETTINGS for _ in range(1 + (name == key))]
    heard = capsys.readouterr().err
    assert said in heard
    assert f"'{wrong}'" in heard


def test_init_refuses_a_wrong_argument_before_it_asks_anything() -> None:
    def ask(question: str, _: str | None) -> str:
        raise AssertionError(question)

    with pytest.raises(Failure, match="did you mean 'operator_email'"):
        init.ask_for_settings({"operator_mail": "a@b.io"}, ask, {}, "production")
    with pytest.raises(Failure, match="production needs slack_channel"):
        init.ask_for_settings({"slack_channel": "sales"}, ask, {}, "production")


def test_init_names_missing_production_settings_and_repeats_the_given_ones(run: Run) -> None:
    said = " ".join(run("production", *GIVEN[1:]).stderr.split())
    missing, *_ = GIVEN[0].partition("=")
    assert f"production needs {missing}:" in said
    assert f"assistance init production {' '.join(GIVEN[1:])} {missing}=…" in said


def test_init_says_which_settings_a_written_file_still_lacks(run: Run) -> None:
    done = run("staging")
    assert (done.exit_code, done.stdout) == (0, "stages/staging.json\n")
    for key in ("region", "operator_email", "email_sender", "email_recipients"):
        assert f"  {key}: {init.ASKED_SETTINGS[key]}" in done.stderr
    assert "Set what you need in stages/staging.json, commit it, then deploy" in " ".join(done.stderr.split())
    complete = run("production", *GIVEN)
    assert complete.stderr == "Commit the file, then deploy: make deploy ARGS='-c stage=production'\n"


def test_init_proposes_the_region_in_the_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with mock_aws():
        assert init.from_credentials() == {"account": "123456789012", "region": "eu-central-1"}
