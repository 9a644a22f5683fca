"""Tests the make targets with unusual pip settings, shells and paths, and with an old Node.js."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEED_NODE = (
    "run", "demo", "test", "quick", "screenshots", "soak", "load", "checkov", "docs", "lock", "vulnerabilities",
    "synth", "diff", "deploy", "bootstrap",
)  # fmt: skip

WITHOUT_ARGS = {"screenshots", "soak", "checkov", "docs", "lock", "vulnerabilities"}


def make(
    *arguments: str, directory: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=directory,
        env={**os.environ, **(environment or {})},
        check=False,
        capture_output=True,
        text=True,
    )


def a_node(directory: Path, version: str) -> dict[str, str]:
    """An environment in which `node` reports this version."""
    program = directory / "node"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def test_make_install_installs_uv_with_any_pip_settings_folder_and_shell_and_without_git(tmp_path: Path) -> None:
    directory = tmp_path / "my own copy"
    directory.mkdir()
    shutil.copy(ROOT / "Makefile", directory)
    # pip chooses the target directory before it resolves packages, so this needs no network.
    (directory / "uv-requirements.txt").touch()
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\nuser = true\n[install]\nuser = true\n")
    environment = {
        "PIP_USER": "1", "PIP_CONFIG_FILE": str(settings), "SHELL": "/bin/sh", "HTTPS_PROXY": "http://127.0.0.1:9"
    }  # fmt: skip
    made = make(".tools/bin/uv", directory=directory, environment=environment)
    assert made.returncode == 0, made.stderr


@pytest.mark.parametrize(
    ("version", "status", "expected"),
    [
        ("v18.20.8", 2, "error: Node.js v18.20.8 is too old: the CDK needs 22 or later"),
        ("v21.7.3", 0, "warning: the CDK no longer supports Node.js v21.7.3"),
        ("v22.0.0", 0, ""),
        ("v30.0.0", 0, ""),
    ],
)
def test_an_unsupported_node_version_is_reported_with_instructions(
    tmp_path: Path, version: str, status: int, expected: str
) -> None:
    made = make("node", environment=a_node(tmp_path, version))
    assert made.returncode == status
    assert made.stderr.startswith(expected)
    assert bool(made.stderr) is bool(expected)


@pytest.mark.parametrize("target", NEED_NODE)
def test_make_targets_that_need_node_check_the_node_version_first_and_pass_on_the_variable_args(target: str) -> None:
    first, *_, last = make("--dry-run", target, "ARGS=-c stage=staging").stdout.splitlines()
    assert first.startswith("version=$(node --version")
    assert last.endswith(" -c stage=staging") is (target not in WITHOUT_ARGS)


def test_make_deploy_and_the_deployment_workflow_end_with_the_doctor_command_and_the_smoke_command() -> None:
    assert "-m cli.after_deployment .build/deployed.json" in make("--dry-run", "deploy").stdout.splitlines()[-1]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert "make deploy" in workflow.partition("  deploy:")[2]
