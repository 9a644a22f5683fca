"""Tests the corrections of MiniStack, the emulator of the local stack."""

import subprocess
import sys

from local.deploy import ROOT

ADDED_MEANWHILE = """
from local import permissions
from ministack.services import sts


class Growing(dict):
    def items(self):
        for each in super().items():
            self[f"of another thread {len(self)}"] = {}
            yield each


permissions.correct()
sts._sessions = Growing(known={})
sts.register_session("new", {})
assert "new" in sts._sessions
"""


def test_two_processes_of_functions_can_be_started_at_the_same_time() -> None:
    """The test runs its program in a process of its own, because the program changes MiniStack's modules."""
    subprocess.run(
        [sys.executable, "-c", ADDED_MEANWHILE], cwd=ROOT, check=True, env={"PYTHONPATH": f"{ROOT}:functions"}
    )
