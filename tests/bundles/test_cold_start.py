"""The cold starts that `make bench` measures: each function, started in its bundle, handles its events over TLS."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks import cold_start
from benchmarks.answers import served


def test_each_measured_cold_start_handles_its_events(local: Mapping[str, Path], tmp_path: Path) -> None:
    with served(tmp_path) as (url, trust):
        samples = {name: [run()] for name, run in cold_start.programs(tmp_path, local, url, trust).items()}
    page = cold_start.page(samples, certificates=128)
    assert [line.split(" | ")[0].strip("| ") for line in page.splitlines() if line.startswith("| ")][2:] == list(
        samples
    )
    assert all(run.cpu > 0 for runs in samples.values() for run in runs)
