"""Tests `make bench`'s cold starts: each function, loaded from its bundle, handles events and calls AWS over TLS."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from benchmarks import cold_start
from benchmarks.events import BATCHES
from benchmarks.fake_services import running

CALLS: Mapping[str, Mapping[str, int]] = {
    "floor": {"GetItem": 1},
    "`api`": {"PutItem": 1},
    "`email_feedback`": {"Query": 1, "PutItem": 1},
    "`slack_interactions`": {"GetSecretValue": 1, "Query": 1, "PutItem": 1, "BatchGetItem": 2, "actions": 1},
    "`take_page`": {"GetSecretValue": 1, "Query": 2, "PutItem": 1},
    "`stream_producer`, 100 records": {"/": 10, "UpdateItem": 100},
    "`slack_consumer`, 25 messages": {"PutItem": 50, "chat.postMessage": 1},
    "`email_consumer`, 10 messages": {"PutItem": 20, "outbound-emails": 10},
    "`teams_consumer`, 10 messages": {"PutItem": 20, "workflow": 10},
    "`callback_consumer`, 10 messages": {"Query": 10, "PutItem": 20, "callbacks": 10},
}
"""The calls that each function must make. A batch's reads of secrets are missing: each thread may read one."""


def test_the_cold_start_benchmark_runs_each_function_on_real_events(local: Mapping[str, Path], tmp_path: Path) -> None:
    samples, called = {}, {}
    with running(tmp_path) as there:
        programs = cold_start.programs(tmp_path, local, there)
        # A full batch makes all the calls that a single message makes.
        of_batches = {f"`{folder}`" for folder, _ in BATCHES.values()}
        for name in programs.keys() - of_batches:
            there.calls.clear()
            samples[name], called[name] = [programs[name]()], Counter(there.calls)
    page = cold_start.page(samples, certificates=128)
    assert [line.split(" | ")[0].strip("| ") for line in page.splitlines() if line.startswith("| ")][2:] == list(
        samples
    )
    assert all(run.cpu > 0 for runs in samples.values() for run in runs)
    # A function that failed early would seem fast.
    assert {name: {call: called[name][call] for call in calls} for name, calls in CALLS.items()} == CALLS
    assert called.keys() - CALLS.keys() == {"`reconciler`"}
    assert called["`reconciler`"]["Query"] > 1
