"""What the page can do: send, break, mend and redrive, by the means that a bot or an operator has."""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from html import unescape
from http import HTTPStatus
from time import monotonic
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from assistance.routing import CALLBACK, Channel
from cli import letters, render
from cli.errors import Failure
from cli.stack import Stack as Deployed
from local import http, ses
from local.slack_workspace import SlackError
from local.stack import Stack

REDRIVE_SECONDS: Final = 10

Fault: TypeAlias = dict[str, Any]

# How a channel's provider can be, and what that is to the local servers that play Slack and SES.
SLACK: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "fine": {"kind": "none"},
        # Within the consumer's time-out: long enough to kill its worker meanwhile.
        "slow": {"kind": "slow", "seconds": 6},
        "rate_limited": {"kind": "rate_limited", "retry_after": 5},
        "failing": {"kind": "status", "status": 503},
        "refusing": {"kind": "error", "error": "is_archived"},
    }
)
EMAIL: Final[Mapping[str, Fault]] = MappingProxyType(
    {"fine": {"kind": "none"}, **{kind: {"kind": kind} for kind in ses.FAULTS if kind != "none"}}
)


@dataclass(frozen=True, slots=True)
class Switch:
    """How to break one channel's provider: the possible faults, how to set one, and the present one."""

    faults: Mapping[str, Fault]
    fail: Callable[[Fault], None]
    current: Callable[[], Fault]


class Acts:
    """Acts on the running stack. One act at a time, for an operator's session is not made for threads."""

    def __init__(self, stack: Stack, deployed: Deployed) -> None:
        self._stack = stack
        self._deployed = deployed
        self._lock = threading.Lock()
        self._lambda = deployed.client("lambda")
        self._scheduler = deployed.client("scheduler")
        consumers = (f"{lane}_consumer" for lane in (*deployed.channels(), CALLBACK))
        folders = ("api", "stream_producer", *consumers, "reconciler")
        self._functions = {folder: deployed.function(folder) for folder in folders}
        self._producer = self._mapping(self._functions["stream_producer"])
        self._switches: dict[str, Switch] = {}
        if Channel.EMAIL in deployed.channels():
            self._switches[Channel.EMAIL] = Switch(EMAIL, self._fail_ses, self._ses_fault)
        if stack.slack.server and Channel.SLACK in deployed.channels():
            workspace = stack.slack.server.workspace
            self._switches[Channel.SLACK] = Switch(SLACK, workspace.fail, lambda: workspace.fault)
        self._letters: list[dict[str, Any]] = []
        self._known: int | None = 0
        self._looking = threading.Lock()

    def send(self, topic: str, description: str, key: str | None, said: Mapping[str, Any]) -> dict[str, Any]:
        """Call the API as a bot does; `said` holds the call's optional members. What it answered, whatever it is."""
        headers = {"x-api-key": self._stack.api_key} | ({"Idempotency-Key": key} if key else {})
        body = {**said, "topic": topic, "description": description}
        answer = http.call("POST", f"{self._stack.api_url}/assistance-requests", body=body, headers=headers)
        return {
            "status": answer.status,
            "replayed": answer.headers.get("idempotent-replayed") == "true",
            "body": answer.json,
        }

    def press(self, user: str, ts: str, value: str) -> str:
        """Press a button of a message in the local Slack. What came of it. Raises `ValueError` if there is none."""
        server = self._stack.slack.server
        if server is None or not user:
            raise ValueError(user)
        known = len(server.workspace.whispers)
        try:
            status = server.press(ts, user, value)
        except SlackError as error:
            raise ValueError(ts) from error
        if status != HTTPStatus.OK:
            return f"Slack shows @{user} a warning, for the answer was {status}."
        told = [unescape(each["text"]) for each in server.workspace.whispers[known:] if each["user"] == user]
        return f"@{user} is told: {' '.join(told)}" if told else f"@{user} has pressed it."

    def switches(self) -> dict[str, Any]:
        """How everything that can be switched is at the moment."""
        mapping = self._lambda.get_event_source_mapping(UUID=self._producer)
        running = list(self._stack.cloud.workers().values())
        return {
            "faults": {channel: self._fault(channel) for channel in sorted(self._switches, reverse=True)},
            "producer": mapping["State"] in {"Enabled", "Enabling"},
            "reconciler": self._schedule()["State"] == "ENABLED",
            "workers": {folder: running.count(name) for folder, name in self._functions.items()},
        }

    def break_(self, channel: str, kind: str) -> None:
        """Make a channel's provider slow, failing and so on, or fine again. Raises `KeyError`."""
        switch = self._switches[channel]
        switch.fail(switch.faults[kind])

    def run_producer(self, *, on: bool) -> None:
        """Let the producer take from the table's stream, or not."""
        with self._lock:
            self._lambda.update_event_source_mapping(UUID=self._producer, Enabled=on)

    def run_reconciler(self, *, on: bool) -> None:
        """Let the reconciler's schedule run, or not. An update without a setting resets it, so all are repeated.

        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
        """
        with self._lock:
            schedule = self._schedule()
            kept = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")
            settings = {name: schedule[name] for name in kept if name in schedule}
            self._scheduler.update_schedule(**settings, State="ENABLED" if on else "DISABLED")

    def reconcile(self) -> str:
        """Run the reconciler now. What it did."""
        with self._lock:
            answer = self._deployed.reconcile(dry_run=False)
        if answer.get("under_way"):
            return "A sweep is under way just now."
        return f"The reconciler published {answer['outbox']['published']} of what was in the outbox for too long."

    def kill(self, folder: str) -> str:
        """Kill one process that runs the function. What came of it. Raises `KeyError`."""
        wanted = self._functions[folder]
        for pid, function in self._stack.cloud.workers().items():
            if function != wanted:
                continue
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return f"Killed process {pid}, which ran {folder}."
        return f"No process runs {folder} at the moment: the next message starts one."

    def dead_letters(self, depth: int) -> list[dict[str, Any]]:
        """The dead letters, as last seen. They are looked at anew, in the background, when their number changes."""
        if depth != self._known and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look, args=(depth,), daemon=True).start()
        return self._letters

    def redrive(self, ids: list[str] | None) -> str:
        """Send these dead letters, or all, to their channel once more. What came of it."""
        with self._lock:
            outcomes: list[letters.Outcome] = []
            deadline = monotonic() + REDRIVE_SECONDS
            while not outcomes and monotonic() < deadline:
                # Looking takes a second. Somebody else, such as the reconciler, may have had them in hand.
                outcomes = self._redriven(None if ids is None else frozenset(ids))
            self._known = None
        problems = [outcome.problem for outcome in outcomes if outcome.problem]
        return "; ".join([f"{len(outcomes) - len(problems)} redriven", *problems]) + "."

    def _redriven(self, ids: frozenset[str] | None) -> list[letters.Outcome]:
        act = letters.redriving(self._deployed)
        queues = self._deployed.dlqs()
        return [outcome for queue in queues for outcome in letters.deal_with(self._deployed, queue, ids, act)]

    def _look(self, depth: int) -> None:
        try:
            with self._lock:
                found = letters.find(self._deployed, self._deployed.dlqs())
                self._letters = [render.letter_document(letter) for letter in found.letters]
                # What somebody else has in hand is looked at next time.
                self._known = None if found.hidden else depth
        finally:
            self._looking.release()

    def _fault(self, channel: str) -> str | None:
        switch = self._switches[channel]
        kind = switch.current()["kind"]
        return next((name for name, fault in switch.faults.items() if fault["kind"] == kind), None)

    def _fail_ses(self, fault: Fault) -> None:
        answer = self._stack.cloud.call("PUT", ses.CONTROL, fault)
        if answer.status != HTTPStatus.OK:
            raise Failure(f"the fault was refused: {answer.status}")

    def _ses_fault(self) -> Fault:
        fault: Fault = self._stack.cloud.call("GET", ses.CONTROL).json
        return fault

    def _mapping(self, function: str) -> str:
        [mapping] = self._lambda.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        return str(mapping["UUID"])

    def _schedule(self) -> dict[str, Any]:
        # The others are the heartbeats of channels: infra/heartbeat.py.
        schedules = self._scheduler.list_schedules()["Schedules"]
        [summary] = (it for it in schedules if "Reconciler" in it["Target"]["Arn"])
        schedule: dict[str, Any] = self._scheduler.get_schedule(Name=summary["Name"], GroupName=summary["GroupName"])
        return schedule
