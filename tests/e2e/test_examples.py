"""Tests each example of docs/calling.md on the running stack."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.deploy import ROOT
from tests.e2e.bot import Bot

_, _, PAGE = (ROOT / "docs/calling.md").read_text("utf-8").partition("## Examples")
EXAMPLES = dict(re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
PROGRAMS = {"sh": ("sh", "-e"), "python": (sys.executable,), "js": ("node",)}


def run(bot: Bot, path: Path, language: str) -> str:
    file = path / ("example.mjs" if language == "js" else "example")
    file.write_text(EXAMPLES[language], "utf-8")
    environment = {**os.environ, "API_URL": bot.stack["api_url"], "API_KEY": bot.stack["api_key"]}
    done = subprocess.run(
        [*PROGRAMS[language], str(file)], env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("language", ["python", "js"])
def test_an_example_run_twice_creates_one_request_and_prints_its_status(
    bot: Bot, tmp_path: Path, language: str
) -> None:
    stored = bot.stored()
    statuses = [run(bot, tmp_path, language) for _ in range(2)]
    assert set(statuses) <= {"accepted", "published", "sending", "delivered"}
    assert bot.stored() == stored + 1


def test_the_curl_example_prints_the_request_that_it_created(bot: Bot, tmp_path: Path) -> None:
    shown: dict[str, Any] = json.loads(run(bot, tmp_path, "sh"))
    assert shown["topic"] == "sales"
    assert bot.show(shown["id"])["id"] == shown["id"]


def test_the_api_accepts_the_landbot_example_with_the_fields_filled_in(bot: Bot) -> None:
    said = {"topic": "Sales", "description": "It is down,\nand more", "name": "Anna", "id": "42", "chat_uuid": "43"}
    body = re.sub(r"@\{(\w+)\}", lambda field: said.get(field[1], ""), EXAMPLES["json"])
    answer = bot.call("POST", "/assistance-requests", body.encode(), {"Idempotency-Key": "landbot-1"})
    assert answer.status == 202
    assert bot.show(answer.json["id"])["reference"] == "42"


def test_every_example_file_has_a_test() -> None:
    assert EXAMPLES.keys() == {*PROGRAMS, "json"}


def test_the_api_reference_is_served_without_an_api_key(bot: Bot) -> None:
    for path, kind in (("/docs", "text/html"), ("/openapi.json", "application/json")):
        answer = bot.call("GET", path, None, {"x-api-key": ""})
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
