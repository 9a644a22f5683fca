"""The cold starts that `make bench` measures: each function, started in its bundle, handles its event."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import cold_start, timing
from benchmarks.answers import SLACK_PATH, served
from benchmarks.events import EVENTS, environment


@pytest.mark.parametrize("folder", EVENTS)
def test_a_cold_start_that_is_measured_handles_its_event(
    local: Mapping[str, Path], folder: str, tmp_path: Path
) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps(EVENTS[folder]()), "utf-8")
    with served() as url:
        told = environment(url, slack_api_url=url + SLACK_PATH) | {"PYTHONPATH": str(local[folder])}
        run = timing.python(cold_start.FUNCTION, folder, str(event), environment=told)
    assert run.cpu > 0
