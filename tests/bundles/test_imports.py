"""Tests the number of modules that each function imports before its first event, since imports take start time."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from assistance.routing import DESTINATIONS
from tests.bundles.bundled import FOLDERS
from tests.bundles.runtime import PYTHON

IMPORTED = """
import importlib, json, sys
importlib.import_module(sys.argv[1] + ".handler")
print(json.dumps(sorted(sys.modules)))
"""
# A few more modules than now. If a function needs more, measure their cost with `make bench`.
BUDGET = {
    **dict.fromkeys((f"{destination}_consumer" for destination in DESTINATIONS), 375),
    "api": 325,
    "stream_producer": 252,
    "reconciler": 260,
    "callback_consumer": 388,
    "slack_consumer": 414,
    "email_feedback": 258,
    "slack_interactions": 400,
    "take_page": 345,
}
NOBODY = frozenset[str]()
# Powertools' idempotency imports boto3. Its event handler and event classes import asyncio.
CONSUMERS = frozenset(f"{destination}_consumer" for destination in DESTINATIONS)
ONLY = {
    "aiohttp": NOBODY,
    "asyncio": CONSUMERS | {"api", "slack_interactions", "take_page"},
    "aws_lambda_powertools.event_handler": {"api"},
    "aws_lambda_powertools.event_handler.openapi.models": NOBODY,
    "aws_lambda_powertools.utilities.data_classes": CONSUMERS | {"api"},
    "aws_lambda_powertools.utilities.parser": NOBODY,
    "aws_xray_sdk": NOBODY,
    "boto3": CONSUMERS | {"slack_interactions", "take_page"},
    "pydantic.networks": NOBODY,
    "pydantic.v1": NOBODY,
    "pydantic_settings": NOBODY,
    "s3transfer": CONSUMERS | {"slack_interactions", "take_page"},
    "slack_sdk": {"slack_consumer", "slack_interactions"},
    "slack_sdk.socket_mode": NOBODY,
    "slack_sdk.web.async_client": NOBODY,
}
"""Modules that take long to import, and the functions that may import them."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_number_of_modules_that_a_function_imports_stays_below_its_limit(
    local: Mapping[str, Path], folder: str
) -> None:
    environment = {"PYTHONPATH": str(local[folder]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(PYTHON), "-S", "-c", IMPORTED, folder]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    imported: list[str] = json.loads(done.stdout)
    assert {name for name in imported if folder not in ONLY.get(name, {folder})} == set()
    assert "assistance.platform.startup" in imported, "by the function's own __init__.py, before all else"
    held = {path.stem for path in local[folder].iterdir()}
    assert len([name for name in imported if name.split(".")[0] in held]) <= BUDGET[folder]
