"""What `make bench` measures still does what it is named for."""

import subprocess
import sys

from local.deploy import ROOT

EACH_ONCE = """
from contextlib import redirect_stdout
from benchmarks import warm
with warm.no_network(), redirect_stdout(warm.Nowhere()):
    invocations = warm.invocations()
    swept = invocations["sweep 1,000"][0]()
    answers = {name: ours() for name, (ours, _) in invocations.items() if "consume" in name or "publish" in name}
print(swept.published, swept.failed, *(len(answer["batchItemFailures"]) for answer in answers.values()))
"""


def test_what_is_measured_is_done() -> None:
    # In a process of its own: it has its own answers for AWS, and settings for them.
    command = [sys.executable, "-W", "ignore", "-c", EACH_ONCE]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": "functions"}, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["1000", "0", "0", "0", "0"]
