"""A process from its start to the end of its first event, for each function's bundle, against one call of botocore's.

The bundles are made as they are deployed, but for this machine. A server on it answers at once, over TLS as AWS does.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import timing
from benchmarks.answers import SLACK_PATH, Served, served
from benchmarks.events import BATCHES, EVENTS, Event, environment
from infra import bundle

ROUNDS = 15
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
FLOOR = (
    "import botocore.session; botocore.session.get_session().create_client('dynamodb')"
    ".get_item(TableName='table', Key={'pk': {'S': '1'}, 'sk': {'S': 'REQUEST'}})"
)
FLOOR_NAME = "floor"
ABOUT = f"""\
A process from its start to the end of its first event, for each function's bundle, in {ROUNDS} turns. A server on this
machine answers at once, over TLS: certificates are read and checked as on AWS, {{}} of them. The floor is a
process that makes one client and one call, on botocore as installed. Each event comes as if it had just happened.
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
assert not answer.get("batchItemFailures") and answer.get("statusCode", 200) < 300, answer
"""
CALLED_BACK = """
import asyncio, sys
from callback_consumer import egress, handler
def connect(*_, **tls): return asyncio.open_connection("localhost", int(sys.argv[3]), **tls)
made = egress.Egress(resolve=lambda *_: ["8.8.8.8"], connect=connect)
handler.egress = lambda: made
"""
"""A bot's name leads to the server on this machine, since its own address is never called. The rest is as deployed."""


def programs(directory: Path, bundles: Mapping[str, Path], there: Served) -> dict[str, Callable[[], timing.Run]]:
    """What is measured, by name: the floor, and each function with one event and with a full batch of them."""
    # botocore's own connections know the file of certificates by another variable.
    stock = {"PYTHONPATH": str(bundle.dependencies(bundle.requirements("api"), HERE, None))}
    stock["AWS_CA_BUNDLE"] = there.trust["SSL_CERT_FILE"]
    found: dict[str, Callable[[], timing.Run]] = {
        FLOOR_NAME: partial(timing.python, FLOOR, environment=environment(there.url) | stock)
    }
    told = {**environment(there.url, slack_api_url=there.url + SLACK_PATH), **there.trust}
    port = there.url.rpartition(":")[2]

    def run(folder: str, event: Event) -> timing.Run:
        # As it would come now: a message of a minute ago has its record read, and Slack's signatures expire.
        path = directory / "event.json"
        path.write_text(json.dumps(event(there.url)), "utf-8")
        program = CALLED_BACK + FUNCTION if folder == "callback_consumer" else FUNCTION
        return timing.python(program, folder, str(path), port, environment=told | {"PYTHONPATH": str(bundles[folder])})

    events = {f"`{folder}`": (folder, event) for folder, event in EVENTS.items()}
    for name, (folder, event) in {**events, **BATCHES}.items():
        found[name] = partial(run, folder, event)
    return found


def section(rounds: int = ROUNDS) -> str:
    """What was measured, as Markdown."""
    with TemporaryDirectory() as made, served(Path(made)) as there:
        bundles = {folder: Path(made) / folder for folder in EVENTS}
        for folder, path in bundles.items():
            bundle.build(folder, path, HERE, platform=None)
        samples = timing.in_turns(programs(Path(made), bundles, there), rounds)
        certificates = Path(there.trust["SSL_CERT_FILE"]).read_text("utf-8").count("BEGIN CERTIFICATE")
    return page(samples, certificates)


def page(samples: Mapping[str, Sequence[timing.Run]], certificates: int) -> str:
    """The samples, as Markdown."""
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
    return f"{ABOUT.format(certificates)}\n\n{timing.table(heads, rows)}"
