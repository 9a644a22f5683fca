"""`make load`: bots call the local stack over HTTP at rising rates, also while a channel is slow or fails.

The load is open: each call is due at a fixed time, even if earlier calls are still unanswered, and its latency counts
from that time. So a slow stack does not slow the bots down, and the latencies show it. In one phase the load is closed:
a few bots call without a pause, each as soon as it has its answer.
"""

import argparse
import json
import platform
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count, repeat, takewhile
from pathlib import Path
from threading import Timer
from time import monotonic, sleep, time
from typing import Any, Final

import psutil

from assistance.domain.record import Record
from assistance.store import codec
from assistance.store.schema import OUTBOX_INDEX, RECORD, REQUEST
from benchmarks import load_page
from benchmarks.processes import Processes
from local import http, signals
from local.cloud import isolate
from local.deploy import ROOT
from local.errors import LocalFailure
from local.run_directory import locked
from local.stack import Stack, running
from local.wait import until

HERE: Final = Path(__file__).parent
RATES: Final = (5, 10, 20, 40, 60, 80)
BOTS_AT_ONCE: Final = 200
TOPICS: Final = {"sales": "slack", "pricing": "email"}
USUAL_RATE: Final = 5
CONNECTIONS: Final = 16
SECONDS: Final = 15
SLOW_SECONDS: Final = 2
OUTAGE_SECONDS: Final = 10
WARM_UP_SECONDS: Final = 10
"""How long the warm-up takes. If phases are shorter than `SECONDS`, warm-up and outage shrink in proportion."""
DRAIN_SECONDS: Final = 300
FINAL: Final = ("delivered", "failed")
_DURATION: Final = re.compile(r"\bDuration: (\d+) ms")
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Call:
    """A bot's call. `due`: Unix time at which it was to be made; `latency`: seconds from then until the answer."""

    topic: str
    due: float
    status: int
    latency: float
    request_id: str | None


@dataclass(slots=True)
class Phase:
    """A part of the run, with one rate of calls and one condition, such as a slow Slack.

    `bots`: if not 0, the load is closed: so many bots call without a pause, and the rate results from that.
    """

    name: str
    rate: float
    seconds: float
    kind: str = "usual"
    bots: int = 0
    calls: list[Call] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)
    durations: dict[str, list[int]] = field(default_factory=dict)
    others: float = 0
    """How many cores other processes of the machine kept busy during the phase."""

    @property
    def accepted(self) -> list[Call]:
        """The calls that were answered 202."""
        return [call for call in self.calls if call.status == HTTPStatus.ACCEPTED]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A request's final status, the channel whose delivery has that status, and when the delivery ended (Unix time)."""

    status: str
    channel: str
    at: float


OPEN: Final = Outcome("open", "", 0)


def outcome_of(record: Record) -> Outcome:
    """The outcome of a request, read from its record; `OPEN` if the request has not ended."""
    if record.end is None:
        return OPEN
    status = str(record.end.status)
    last = next(delivery for delivery in record.of_request if str(delivery.final) == status)
    return Outcome(status, last.destination, last.final_at / 1_000)


class Load:
    """Lets bots call the running stack, and measures how the stack responds."""

    def __init__(self, stack: Stack, say: Callable[[str], None], look_seconds: float = 1) -> None:
        """`say` prints a line. `look_seconds`: those between two checks of how many requests are still on their way."""
        if stack.slack.server is None:
            raise LocalFailure("This run would post thousands of messages to the real Slack: unset SLACK_BOT_TOKEN.")
        self.stack = stack
        self.slack = stack.slack.server
        self.say = say
        self._look_seconds = look_seconds
        client = stack.cloud.session.client
        self._sqs = client("sqs", endpoint_url=stack.cloud.url)
        self._logs = client("logs", endpoint_url=stack.cloud.url)
        self._ses = client("ses", endpoint_url=stack.cloud.url)
        self._sesv2 = client("sesv2", endpoint_url=stack.cloud.url)
        self._table = stack.cloud.session.resource("dynamodb", endpoint_url=stack.cloud.url).Table(
            stack.outputs["TableName"]
        )
        functions = client("lambda", endpoint_url=stack.cloud.url).list_functions()["Functions"]
        folders = {one["FunctionName"]: one["Handler"].split(".")[0] for one in functions}
        self._log_groups = {folders[one["FunctionName"]]: one["LoggingConfig"]["LogGroup"] for one in functions}
        self._processes = Processes(folders)
        self._number = count()

    def run(self, phase: Phase) -> Phase:
        """Send the phase's calls, and wait until all accepted requests have ended."""
        before, busy, started, clock = self._processes.used(), machine_seconds(), monotonic(), time()
        phase.calls = self._closed(phase) if phase.bots else self._open(phase, started, clock)
        self.drain(phase.name)
        after = self._processes.used()
        phase.cpu = {name: seconds - before.get(name, 0) for name, seconds in after.items()}
        phase.others = max(0, machine_seconds() - busy - sum(phase.cpu.values())) / (monotonic() - started)
        phase.durations = self._durations(clock, time())
        accepted = len(phase.accepted)
        self.say(f"{phase.name}: {accepted} of {len(phase.calls)} accepted, all ended after {time() - clock:.1f} s")
        return phase

    def _open(self, phase: Phase, started: float, clock: float) -> list[Call]:
        pool = ThreadPoolExecutor(BOTS_AT_ONCE)
        try:
            pending = []
            for index in range(max(1, round(phase.rate * phase.seconds))):
                due = index / phase.rate
                sleep(max(0, started + due - monotonic()))
                pending.append(pool.submit(self._call, clock + due))
                if index % max(1, round(phase.rate)) == 0:
                    self._processes.sample()
                    self._show(f"{phase.name}: {index + 1} sent")
            return [call.result() for call in pending]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _closed(self, phase: Phase) -> list[Call]:
        end = monotonic() + phase.seconds

        def bot() -> list[Call]:
            return [self._call(time()) for _ in takewhile(lambda _: monotonic() < end, repeat(None))]

        with ThreadPoolExecutor(phase.bots) as pool:
            pending = [pool.submit(bot) for _ in range(phase.bots)]
            return [call for calls in pending for call in calls.result()]

    def _call(self, due: float) -> Call:
        number = next(self._number)
        topic = list(TOPICS)[number % len(TOPICS)]
        body = {"topic": topic, "description": f"Question {number} of a customer who would like to talk to a human."}
        try:
            answer = self.stack.call("POST", "/assistance-requests", body)
        except http.NoAnswer:
            return Call(topic, due, 0, time() - due, None)
        latency = time() - due
        accepted = answer.status == HTTPStatus.ACCEPTED
        return Call(topic, due, answer.status, latency, str(answer.json["id"]) if accepted else None)

    def drain(self, name: str) -> None:
        """Wait until the outbox and the queues are empty in two checks in a row. `name`: the phase, for the display.

        One check is not enough: a request may move from the outbox to a queue while the check reads the two.
        """
        looked, empty = 0.0, 0

        def ended() -> bool | None:
            nonlocal looked, empty
            if monotonic() - looked < self._look_seconds:
                return None
            looked = monotonic()
            self._processes.sample()
            left = self._waiting()
            self._show(f"{name}: {left} on their way")
            empty = 0 if left else empty + 1
            return True if empty > 1 else None

        until("Everything that was accepted has ended", DRAIN_SECONDS, ended)

    def _waiting(self) -> int:
        queued = sum(self._depth(f"{channel.capitalize()}QueueUrl") for channel in TOPICS.values())
        return queued + self._table.scan(IndexName=OUTBOX_INDEX, Select="COUNT")["Count"]

    def _depth(self, output: str) -> int:
        """How many messages are in the queue whose URL is this stack output, including those that a consumer has."""
        counts = self._sqs.get_queue_attributes(
            QueueUrl=self.stack.outputs[output],
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return sum(map(int, counts.values()))

    def _durations(self, start: float, end: float) -> dict[str, list[int]]:
        """The milliseconds of each invocation, by function's folder, from REPORT lines between two Unix times."""
        return {
            folder: [
                int(match[1])
                for event in self._logs.filter_log_events(
                    logGroupName=group, startTime=int(1000 * start), endTime=int(1000 * end), filterPattern="REPORT"
                )["events"]
                if (match := _DURATION.search(event["message"]))
            ]
            for folder, group in self._log_groups.items()
        }

    @contextmanager
    def slow_slack(self) -> Iterator[None]:
        """Let the local Slack server answer slowly while the context is entered."""
        self.slack.fail("slow", seconds=SLOW_SECONDS)
        try:
            yield
        finally:
            self.slack.fail("none")

    @contextmanager
    def ses_refusing(self) -> Iterator[None]:
        """Let SES refuse every mail while the context is entered, by removing the sender's verification."""
        [identity] = [one["IdentityName"] for one in self._sesv2.list_email_identities()["EmailIdentities"]]
        self._sesv2.delete_email_identity(EmailIdentity=identity)
        # Remove the identity with both of SES's APIs: the emulator accepts a sender that either one has verified.
        self._ses.delete_identity(Identity=identity)
        try:
            yield
        finally:
            self._sesv2.create_email_identity(EmailIdentity=identity)

    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of every request in the table, by the request's id."""
        found: dict[str, Outcome] = {}
        start: dict[str, Any] = {}
        while True:
            page = self._table.scan(ConsistentRead=True, **start)
            for item in page["Items"]:
                if item["sk"] == REQUEST:
                    found.setdefault(str(item["pk"]), OPEN)
                elif item["sk"] == RECORD:
                    found[str(item["pk"])] = outcome_of(codec.record_of(item))
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def arrived(self) -> tuple[Counter[str], Counter[str]]:
        """How often each request was posted to Slack, and how often it was sent by email, by the request's id."""
        posts = [set(_ID.findall(json.dumps(message))) for message in self.slack.messages]
        mails = [set(_ID.findall(mail["BodyText"])) for mail in self.stack.cloud.sent_mail()]
        return Counter(one for ids in posts for one in ids), Counter(one for ids in mails for one in ids)

    def dead_letters(self) -> int:
        """How many messages are in the dead-letter queues."""
        return sum(self._depth(name) for name in self.stack.outputs if name.endswith("DlqUrl"))

    def _show(self, text: str) -> None:
        if sys.stdout.isatty():
            print(f"\r{text:<78}\r", end="", flush=True)


def measure(load: Load, rates: Sequence[float], seconds: float, connections: int = CONNECTIONS) -> list[Phase]:
    """Run a phase of `seconds` for each rate, and those with other conditions. Returns the phases without the warm-ups.

    `connections`: how many bots the phase with closed load has.
    """
    scale = seconds / SECONDS
    load.run(Phase("warm-up", USUAL_RATE, WARM_UP_SECONDS * scale))
    phases = [load.run(Phase(f"{rate:g} a second", rate, seconds, "rising")) for rate in rates]
    phases.append(load.run(Phase(f"{connections} connections", 0, seconds, "closed", bots=connections)))
    seconds *= 1.5
    phases.append(load.run(Phase("before Slack is slow", USUAL_RATE, seconds, "before")))
    with load.slow_slack():
        # The emulator starts a second process for the Slack consumer, which keeps a core busy for a second.
        load.run(Phase("warm-up, while Slack is slow", USUAL_RATE, WARM_UP_SECONDS * scale / 2))
        phases.append(load.run(Phase(f"Slack takes {SLOW_SECONDS} s", USUAL_RATE, seconds, "slow")))
    phases.append(load.run(Phase("after Slack was slow", USUAL_RATE, seconds, "after")))
    phases.append(_outage(load, OUTAGE_SECONDS * scale))
    with load.ses_refusing():
        phases.append(load.run(Phase("SES refuses", USUAL_RATE, OUTAGE_SECONDS * scale)))
    return phases


def _outage(load: Load, seconds: float) -> Phase:
    """A phase in which Slack answers 503 for so many seconds, and works again after that."""
    load.slack.fail("status", status=HTTPStatus.SERVICE_UNAVAILABLE)
    end = Timer(seconds, load.slack.fail, ["none"])
    end.start()
    try:
        return load.run(Phase(f"Slack answers 503 for {seconds:.3g} s", USUAL_RATE, seconds))
    finally:
        end.cancel()
        load.slack.fail("none")


def lost(phases: Sequence[Phase], outcomes: Mapping[str, Outcome], arrived: tuple[Counter[str], Counter[str]],
         dead_letters: int) -> list[str]:  # fmt: skip
    """Check that no request was lost or posted twice, and that failed ones left dead letters. Returns the violations.

    `arrived`: how often each request was posted to Slack and sent by email, as `Load.arrived` returns it.
    """
    ids = {str(call.request_id) for phase in phases for call in phase.accepted}
    posts, mails = arrived
    found = [f"{one}: not in the table" for one in ids - outcomes.keys()]
    for one in ids & outcomes.keys():
        outcome = outcomes[one]
        if outcome.status not in FINAL:
            found.append(f"{one}: neither delivered nor failed")
        if outcome.status == "delivered" and not posts[one] + mails[one]:
            found.append(f"{one}: its status is delivered, but no message has arrived")
        if posts[one] > 1:
            found.append(f"{one}: posted {posts[one]} times")
    if dead_letters < (failed := sum(outcomes[one].status == "failed" for one in ids & outcomes.keys())):
        found.append(f"{failed} requests failed, but only {dead_letters} messages are in the dead-letter queues")
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile: a share of the values, such as 0.99, is not larger than it. 0 if there are no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0


def summary(phase: Phase, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """The figures of a phase. All times are in seconds."""
    accepted = phase.accepted
    latencies = [call.latency for call in accepted]
    ended: dict[str, list[float]] = {channel: [] for channel in TOPICS.values()}
    counts: Counter[str] = Counter()
    first, answered = min(call.due for call in phase.calls), max(call.due + call.latency for call in phase.calls)
    last = answered
    for call in accepted:
        outcome, channel = outcomes[str(call.request_id)], TOPICS[call.topic]
        counts[outcome.status if outcome.channel == channel else f"{outcome.status} by the fallback"] += 1
        if outcome.status == "delivered":
            ended[channel].append(outcome.at - call.due)
            last = max(last, outcome.at)
    return {
        "name": phase.name,
        "kind": phase.kind,
        "rate": phase.rate,
        "calls": len(phase.calls),
        "accepted": len(accepted),
        "accepted_per_second": len(accepted) / (answered - first),
        "delivered_per_second": sum(map(len, ended.values())) / (last - first),
        "accept": {"p50": quantile(latencies, 0.5), "p99": quantile(latencies, 0.99)},
        "delivered": {
            name: {"p50": quantile(times, 0.5), "p99": quantile(times, 0.99)} for name, times in ended.items()
        },
        "ended": dict(counts),
        "cpu": phase.cpu,
        "others": phase.others,
        "invocations": {name: len(times) for name, times in phase.durations.items()},
        "durations_p50": {name: quantile(times, 0.5) / 1000 for name, times in phase.durations.items()},
    }


def machine_seconds() -> float:
    """The CPU time in seconds of all processes of this machine since it was started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system) if hasattr(times, "nice") else float(times.user + times.system)


def machine() -> str:
    """A description of this machine: cores, memory, system and Python's version."""
    model, cpuinfo = platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.+)", cpuinfo.read_text("utf-8"))):
        model = found[1]
    memory = psutil.virtual_memory().total / 2**30
    python = platform.python_version()
    return f"{psutil.cpu_count()} cores of {model}, {memory:.0f} GB, {platform.system()}, Python {python}"


def results(phases: Sequence[Phase], outcomes: Mapping[str, Outcome], load_average: float) -> dict[str, Any]:
    """All figures that `load.md` shows, as the content of `load.json`."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "load_average": load_average,
        "phases": [summary(phase, outcomes) for phase in phases],
    }


def main() -> int:
    """Run the load test. The result is the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="calls a second, separated by commas")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each rate")
    parser.add_argument("--output", type=Path, default=HERE, help="for load.md, load.svg and load.json")
    options = parser.parse_args()
    rates = [float(rate) for rate in options.rates.split(",")]
    signals.listen()
    isolate()
    directory, load_average = ROOT / ".local" / "load", psutil.getloadavg()[0]
    try:
        with locked(directory), running(directory, {}, print) as stack:
            try:
                load = Load(stack, print)
                phases = measure(load, rates, options.seconds)
                outcomes = load.outcomes()
                wrong = lost(phases, outcomes, load.arrived(), load.dead_letters())
            finally:
                signals.ignore()
    except LocalFailure as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except signals.Stopped as stopped:
        print("Stopped.")
        return stopped.exit_status
    if wrong:
        print("error: lost or doubled:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    load_page.write(options.output, results(phases, outcomes, load_average))
    print(f"Nothing was lost. Written: {options.output / 'load.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
