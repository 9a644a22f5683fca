"""A process from its start to the end of its first event, for each function's bundle, against a client of botocore's.

The bundles are made as they are deployed, but for this machine. What they call answers at once, over HTTP without TLS.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import timing
from benchmarks.answers import SLACK_PATH, served
from benchmarks.events import EVENTS, environment
from infra import bundle

ROUNDS = 15
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
FLOOR = "import botocore.session; botocore.session.get_session().create_client('dynamodb')"
FLOOR_NAME = "floor"
ABOUT = f"""\
A process from its start to the end of its first event, for each function's bundle, in {ROUNDS} turns. What it calls
answers at once, over HTTP. The floor is a process that makes one client and calls nothing, on botocore as installed:
`{FLOOR}`.
Medians of each turn's ratios: by the time on a processor, which hardly depends on what else the machine does, and by
the clock."""
FUNCTION = """
import json, sys
from importlib import import_module
handler = import_module(sys.argv[1] + ".handler").lambda_handler
class Context:
    function_name, memory_limit_in_mb, aws_request_id = sys.argv[1], 512, "invocation"
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:function"
    def get_remaining_time_in_millis(self): return 30_000
with open(sys.argv[2]) as event:
    answer = handler(json.load(event), Context()) or {}
assert not answer.get("batchItemFailures") and answer.get("statusCode", 202) == 202, answer
"""


def measure(directory: Path, url: str, rounds: int = ROUNDS) -> dict[str, list[timing.Run]]:
    """The samples of each function, and of the floor."""
    stock = bundle.dependencies(bundle.requirements("api"), HERE, None)
    programs: dict[str, Callable[[], timing.Run]] = {
        FLOOR_NAME: partial(timing.python, FLOOR, environment=environment(url) | {"PYTHONPATH": str(stock)})
    }
    for folder, event in EVENTS.items():
        bundle.build(folder, directory / folder, HERE, platform=None)
        (directory / f"{folder}.json").write_text(json.dumps(event()), "utf-8")
        programs[f"`{folder}`"] = partial(
            timing.python,
            FUNCTION,
            folder,
            str(directory / f"{folder}.json"),
            environment=environment(url, slack_api_url=url + SLACK_PATH) | {"PYTHONPATH": str(directory / folder)},
        )
    return timing.in_turns(programs, rounds)


def section() -> str:
    """What was measured, as Markdown."""
    with TemporaryDirectory() as directory, served() as url:
        samples = measure(Path(directory), url)
    floor = samples[FLOOR_NAME]
    rows = [
        [
            name,
            f"{timing.ratio([run.cpu for run in runs], [run.cpu for run in floor]):.2f}",
            f"{timing.ratio([run.wall for run in runs], [run.wall for run in floor]):.2f}",
            f"{median(run.cpu for run in runs) * 1e3:,.0f}",
            f"{median(run.memory for run in runs):.0f}",
        ]
        for name, runs in samples.items()
    ]
    heads = ["", "processor, to the floor", "clock, to the floor", "processor, ms", "peak memory, MB"]
    return f"{ABOUT}\n\n{timing.table(heads, rows)}"
