"""Tests the settings in stage files, and the error messages for invalid and missing settings."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.config import Config
from infra.stages import InvalidConfig, file_of, load, settings

ROOT = Path(__file__).parents[2]
PRODUCTION: dict[str, Any] = json.loads((ROOT / "tests/infra/stages/production.json").read_text("utf-8"))


@pytest.fixture
def stages(tmp_path: Path) -> Path:
    """A folder with a valid stage file for production."""
    file_of("production", tmp_path).write_text(json.dumps({"$schema": "./schema.json", **PRODUCTION, "take": True}))
    return tmp_path


def refused(context: dict[str, Any], directory: Path) -> str:
    with pytest.raises(InvalidConfig) as said:
        settings(context, directory)
    return str(said.value)


def test_the_settings_of_a_stage_come_from_its_file_and_cdk_context_overrides_them(stages: Path) -> None:
    config = settings({"stage": "production", "slack_channel": "C0OTHER", "@aws-cdk/core:x": True}, stages)
    assert (config.take, config.operator_email) == (True, "ops@company.io")
    assert config.slack_channel == "C0OTHER"


def test_a_setting_missing_from_the_cdk_context_keeps_the_value_in_the_stage_file(stages: Path) -> None:
    assert settings({"stage": "production"}, stages) == load({"stage": "production", **PRODUCTION, "take": True})


@pytest.mark.parametrize("stage", ["dev", "staging"])
def test_stages_other_than_production_need_no_stage_file(tmp_path: Path, stage: str) -> None:
    assert settings({"stage": stage}, tmp_path) == load({"stage": stage})
    assert settings({}, tmp_path) == Config()


def test_production_without_a_stage_file_is_refused_with_the_command_that_creates_the_file(tmp_path: Path) -> None:
    said = refused({"stage": "production", **PRODUCTION}, tmp_path)
    assert "There is no" in said
    assert "production.json" in said
    assert "'assistance init production' writes the file" in said


def test_the_local_stack_reads_no_stage_file(stages: Path) -> None:
    assert not settings({"stage": "production", "local": "true"}, stages).take


@pytest.mark.parametrize("missing", PRODUCTION)
def test_the_error_about_a_missing_production_setting_names_the_setting_and_the_stage_file(
    stages: Path, missing: str
) -> None:
    path = file_of("production", stages)
    path.write_text(json.dumps({name: value for name, value in PRODUCTION.items() if name != missing}))
    said = refused({"stage": "production"}, stages)
    assert f"production needs {missing}:" in said or f"set {missing} to other than example.com" in said
    assert f"Set it in {path}, or with -c key=value." in said


@pytest.mark.parametrize(
    ("key", "value"), [("slack_channel", "support"), ("runbook_url", "docs/operations.md"), ("account", "")]
)
def test_production_refuses_placeholder_values(stages: Path, key: str, value: str) -> None:
    assert f"production needs {key}:" in refused({"stage": "production", key: value}, stages)


def test_one_error_names_all_missing_production_settings(stages: Path) -> None:
    file_of("production", stages).write_text("{}")
    said = refused({"stage": "production"}, stages)
    assert all(key in said for key in PRODUCTION)


def test_production_without_slack_needs_no_slack_channel(stages: Path) -> None:
    routes = {"sales": {"channels": ["email"]}}
    assert settings({"stage": "production", "slack_channel": "x", "routes": routes}, stages)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ('{"operator_mail": "a@b.io"}', "production.json 'operator_mail': did you mean 'operator_email'?"),
        ('{"acme:centre": "42"}', "production.json 'acme:centre': docs/configuration.md lists"),
        ('{"local": true}', "production.json 'local': docs/configuration.md lists"),
        ('{"take": true,}', "production.json is not JSON: line 1, column 14"),
        ('{"take": true, "take": false}', "production.json: it contains 'take' twice."),
        ('["take"]', "production.json must contain a JSON object"),
        ('{"stage": "staging"}', "production.json contains the stage 'staging', but the file's name must be"),
        ('{"account": "12"}', "production.json can't be deployed:\n  account: String should match pattern"),
    ],
)
def test_the_error_about_an_invalid_stage_file_describes_the_mistake(stages: Path, held: str, said: str) -> None:
    file_of("production", stages).write_text(held)
    assert said in refused({"stage": "production"}, stages)


def test_an_account_id_given_as_a_number_keeps_its_leading_zeros() -> None:
    assert load({"account": 1234567890}).account == "001234567890"
