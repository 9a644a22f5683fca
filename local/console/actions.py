"""The console's actions on the local stack: send a request as a bot, inject faults, click Slack's buttons as a user."""

import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from html import unescape
from http import HTTPStatus
from typing import Any

from assistance.routing import CALLBACK
from cli.stack import Stack as Deployed
from console.actions import Action
from local import http
from local.console.faults import switches
from local.slack_workspace import SlackError
from local.stack import Stack


class Actions:
    """Actions on the running stack, one action at a time, because a boto3 session is not thread-safe."""

    def __init__(self, stack: Stack, deployed: Deployed) -> None:
        self._stack = stack
        self._deployed = deployed
        self._lock = threading.Lock()
        self._lambda = deployed.client("lambda")
        self._scheduler = deployed.client("scheduler")
        consumers = (f"{destination}_consumer" for destination in (*deployed.channels(), CALLBACK))
        folders = ("api", "stream_producer", *consumers, "reconciler")
        self._functions = {folder: deployed.function(folder) for folder in folders}
        self._producer = self._mapping(self._functions["stream_producer"])
        self._switches = switches(stack, deployed.channels())

    def by_name(self) -> dict[str, Action]:
        """The actions, by the names with which the console's page calls them. Each gets the call's JSON body."""
        return {
            "send": lambda body: self._send(
                body["topic"], body["description"], body.get("key"), body.get("members", {})
            ),
            "press": lambda body: self._press(body["user"], body["ts"], body["value"]),
            "fault": lambda body: self._switches[body["channel"]].set(body["kind"]),
            "producer": lambda body: self._run_producer(on=bool(body["on"])),
            "reconciler": lambda body: self._run_reconciler(on=bool(body["on"])),
            "reconcile": lambda _: self._reconcile(),
            "kill": lambda body: self._kill(body["function"]),
        }

    def switches(self) -> dict[str, Any]:
        """Return each channel's fault, whether producer and reconciler are on, and each function's process count."""
        mapping = self._lambda.get_event_source_mapping(UUID=self._producer)
        running = list(self._stack.cloud.workers().values())
        return {
            "faults": {channel: switch.kind for channel, switch in self._switches.items()},
            "producer": mapping["State"] in {"Enabled", "Enabling"},
            "reconciler": self._schedule()["State"] == "ENABLED",
            "workers": {folder: running.count(name) for folder, name in self._functions.items()},
        }

    def _send(self, topic: str, description: str, key: str | None, members: Mapping[str, Any]) -> dict[str, Any]:
        """Call the API as a bot does, and return its answer, also an error.

        `key`: the Idempotency-Key; None sends none. `members`: the body's optional members.
        """
        headers = {"x-api-key": self._stack.api_key} | ({"Idempotency-Key": key} if key else {})
        body = {**members, "topic": topic, "description": description}
        answer = http.call("POST", f"{self._stack.api_url}/assistance-requests", body=body, headers=headers)
        return {
            "status": answer.status,
            "replayed": answer.headers.get("idempotent-replayed") == "true",
            "body": answer.json,
        }

    def _press(self, user: str, ts: str, value: str) -> str:
        """Click the button with this value of the message `ts` in the local Slack. Returns a sentence about the result.

        Raises `ValueError` if there is no such button, or no local Slack.
        """
        server = self._stack.slack.server
        if server is None or not user:
            raise ValueError(user)
        known = len(server.workspace.ephemeral_messages)
        try:
            status = server.press(ts, user, value)
        except SlackError as error:
            raise ValueError(ts) from error
        if status != HTTPStatus.OK:
            return f"Slack shows @{user} a warning, because the app answered with status {status}."
        answer = [
            unescape(each["text"]) for each in server.workspace.ephemeral_messages[known:] if each["user"] == user
        ]
        return f"@{user} gets the answer: {' '.join(answer)}" if answer else f"@{user} has clicked the button."

    def _run_producer(self, *, on: bool) -> None:
        """Enable or disable the stream producer's event source, the table's stream."""
        with self._lock:
            self._lambda.update_event_source_mapping(UUID=self._producer, Enabled=on)

    def _run_reconciler(self, *, on: bool) -> None:
        """Enable or disable the reconciler's schedule.

        UpdateSchedule resets every setting that the call leaves out, so pass on the current values:
        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
        """
        with self._lock:
            schedule = self._schedule()
            kept = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")
            settings = {name: schedule[name] for name in kept if name in schedule}
            self._scheduler.update_schedule(**settings, State="ENABLED" if on else "DISABLED")

    def _reconcile(self) -> str:
        """Run the reconciler now. Returns a sentence about what the run did."""
        with self._lock:
            answer = self._deployed.reconcile(dry_run=False)
        return f"The reconciler published {answer['outbox']['published']} overdue outbox entries."

    def _kill(self, folder: str) -> str:
        """Kill a process of the function in this folder. Returns a sentence. Raises `KeyError` for unknown folders."""
        wanted = self._functions[folder]
        for pid, function in self._stack.cloud.workers().items():
            if function != wanted:
                continue
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return f"Killed process {pid}, which ran {folder}."
        return f"No process runs {folder} at the moment. The next message starts one."

    def _mapping(self, function: str) -> str:
        [mapping] = self._lambda.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        return str(mapping["UUID"])

    def _schedule(self) -> dict[str, Any]:
        # The other schedules are the channels' hourly checks: infra/heartbeat.py.
        schedules = self._scheduler.list_schedules()["Schedules"]
        [summary] = (it for it in schedules if "Reconciler" in it["Target"]["Arn"])
        schedule: dict[str, Any] = self._scheduler.get_schedule(Name=summary["Name"], GroupName=summary["GroupName"])
        return schedule
