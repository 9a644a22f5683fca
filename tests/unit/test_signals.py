"""Tests that the local stack stops when its `make` gets a signal, whichever of the processes gets it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from local.deploy import ROOT

# It does not call `signal.pause`, which would wait for ever if the signal came just before the call.
PROGRAM = """
import time
from local import signals
signals.listen()
signals.follow_make()
try:
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
except signals.Stopped as stopped:
    print(stopped)
"""
WITH_SIGINT = ("env", "--default-signal=INT")
"""A prefix that starts make with the usual SIGINT. Tests that a script runs in the background ignore it."""
IN_A_SCRIPT = ("sh", "-c", 'trap "" INT HUP; exec "$@"', "sh")
"""A prefix that starts make as `nohup make run &` in a script does: SIGINT and SIGHUP are ignored."""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what signals another process catches")
@pytest.mark.parametrize(
    ("prefix", "number"),
    [(WITH_SIGINT, signal.SIGINT), (WITH_SIGINT, signal.SIGTERM), (IN_A_SCRIPT, signal.SIGTERM)],
)
def test_a_signal_sent_only_to_make_also_stops_the_program_started_by_make(
    tmp_path: Path, prefix: tuple[str, ...], number: int
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "Makefile").write_text(f"run:\n\t@exec {sys.executable} program.py\n")
    make = subprocess.Popen(
        [*prefix, "make", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert make.stdout
        assert make.stdout.readline() == "ready\n"
        make.send_signal(number)
        assert make.communicate(timeout=120)[0] == f"{signal.Signals(number).name}\n"
    finally:
        # The program runs on if make alone is killed.
        with suppress(ProcessLookupError):
            os.killpg(make.pid, signal.SIGKILL)
