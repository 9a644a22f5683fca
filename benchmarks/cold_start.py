"""Measures cold starts: a new process for each function's bundle, until it has handled its first event.

The times are compared with a process that makes one call with botocore. The bundles are those that are deployed, but
built for this machine. A local server answers at once, over TLS like AWS.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import botocore

from benchmarks import timing
from benchmarks.events import BATCHES, EVENTS, Event, environment
from benchmarks.fake_services import SLACK_PATH, FakeServices, running
from infra import bundle

ROUNDS = 15
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
FLOOR = (
    "import botocore.session; botocore.session.get_session().create_client('dynamodb')"
    ".get_item(TableName='table', Key={'pk': {'S': '1'}, 'sk': {'S': 'REQUEST'}})"
)
FLOOR_NAME = "floor"
ABOUT = f"""\
For each function's bundle, this measures a process from its start until it has handled its first event, in {ROUNDS}
rounds. A server on this machine answers at once, over TLS: the process reads and checks {{}} certificates, as on AWS.
The
*floor* is a process that creates one client of the installed botocore and makes one call. Each event has the current
time. The ratios are medians over the rounds: of processor time, which hardly depends on what else the machine does, and
of elapsed time."""
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
"""Python code that replaces the callback consumer's DNS and connections: calls to the bot go to the local server."""


def programs(directory: Path, bundles: Mapping[str, Path], there: FakeServices) -> dict[str, Callable[[], timing.Run]]:
    """The programs to measure, by name: one botocore call, and each function with one event and with a full batch.

    `directory`: for events. `bundles`: by function's folder. `there`: the services that the programs call.
    """
    # The floor's botocore is as installed, with complete service descriptions: a bundle's are shortened. It takes the
    # file with certificates from another variable than the functions.
    stock = {"PYTHONPATH": str(Path(botocore.__file__).parents[1])}
    stock["AWS_CA_BUNDLE"] = there.trust["SSL_CERT_FILE"]
    found: dict[str, Callable[[], timing.Run]] = {
        FLOOR_NAME: partial(timing.python, FLOOR, environment=environment(there.url) | stock)
    }
    told = {**environment(there.url, slack_api_url=there.url + SLACK_PATH), **there.trust}
    port = there.url.rpartition(":")[2]

    def run(folder: str, event: Event) -> timing.Run:
        # Each event has the current time: for a message that is a minute old, the consumer also reads the record, and
        # Slack's signatures expire.
        path = directory / "event.json"
        path.write_text(json.dumps(event(there.url)), "utf-8")
        program = CALLED_BACK + FUNCTION if folder == "callback_consumer" else FUNCTION
        return timing.python(program, folder, str(path), port, environment=told | {"PYTHONPATH": str(bundles[folder])})

    events = {f"`{folder}`": (folder, event) for folder, event in EVENTS.items()}
    for name, (folder, event) in {**events, **BATCHES}.items():
        found[name] = partial(run, folder, event)
    return found


def section(rounds: int = ROUNDS) -> str:
    """Measure the cold starts in so many rounds, and return the page's section about them as Markdown."""
    with TemporaryDirectory() as made, running(Path(made)) as there:
        bundles = {folder: Path(made) / folder for folder in EVENTS}
        for folder, path in bundles.items():
            bundle.build(folder, path, HERE, platform=None)
        samples = timing.in_turns(programs(Path(made), bundles, there), rounds)
        certificates = Path(there.trust["SSL_CERT_FILE"]).read_text("utf-8").count("BEGIN CERTIFICATE")
    return page(samples, certificates)


def page(samples: Mapping[str, Sequence[timing.Run]], certificates: int) -> str:
    """The section with these samples, as Markdown. `certificates`: the number that each process reads and checks."""
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
    heads = ["", "processor time / floor", "elapsed time / floor", "processor time, ms", "peak memory, MB"]
    return f"{ABOUT.format(certificates)}\n\n{timing.table(heads, rows)}"
