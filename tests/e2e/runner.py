"""Starts `python -m local` as a user would, and lists the processes and sockets that remain afterwards."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from local.deploy import ROOT
from local.process import alive, command_line, descendants
from local.wait import until

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("SLACK_", "AWS_"))}
START_SECONDS = 180
STOP_SECONDS = 30
AT_A_TERMINAL = (
    sys.executable,
    "-c",
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))",
)
IN_THE_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@" <&-', "sh")
"""A prefix that starts a command as a script without job control does: SIGINT ignored, and standard input closed."""


class Runner:
    """One run of the local stack. `prefix`: a command that starts the program, such as `AT_A_TERMINAL`."""

    def __init__(
        self,
        directory: Path,
        command: str = "run",
        *,
        context: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.directory = directory
        self._log = directory / "runner.log"
        options = [f"--context={key}={value}" for key, value in (context or {}).items()]
        directory.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "local", command, "--directory", str(directory), *options],
                cwd=ROOT,
                env={**ENVIRONMENT, **(environment or {})},
                stdin=subprocess.PIPE if prefix == AT_A_TERMINAL else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Return the program's output."""
        return self._log.read_text("utf-8", "replace")

    def running(self) -> dict[str, Any]:
        """Wait until `stack.json` exists, and return its content."""
        path = self.directory / "stack.json"

        def document() -> dict[str, Any] | None:
            assert self.process.poll() is None, self.output
            return json.loads(path.read_text("utf-8")) if path.exists() else None

        return until("stack.json is there", START_SECONDS, document)

    def wait_for_output(self, words: str) -> None:
        """Wait until the program has printed this text."""

        def printed() -> bool | None:
            assert self.process.poll() is None, self.output
            return words in self.output or None

        until(f"the runner says '{words}'", START_SECONDS, printed)

    def exit_status(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until the program has ended, and return its exit status."""
        return until("the runner ends", seconds, self.process.poll)

    def descendants(self) -> set[int]:
        """The ids of all processes that the runner's process has started, directly or not."""
        return descendants(self.process.pid)

    def ports(self) -> set[tuple[str, int]]:
        """The addresses on which the runner and its descendants listen."""
        connections = [one for pid in (self.process.pid, *self.descendants()) for one in _connections(pid)]
        return {(one.laddr.ip, one.laddr.port) for one in connections if one.laddr and one.status == psutil.CONN_LISTEN}

    def workers(self, function: str) -> list[int]:
        """The processes that currently run this function of the stack (given by the first words of its name)."""
        return [pid for pid in self.descendants() if f"/ministack-lambda-{function}" in command_line(pid)]

    def type(self, keys: bytes) -> None:
        """Type these keys at the program's terminal."""
        assert self.process.stdin
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def close(self) -> None:
        """Stop the program, unless the test has done so."""
        self.process.terminate()
        self.exit_status()
        if self.process.stdin:
            self.process.stdin.close()


def _connections(pid: int) -> list[Any]:
    """The network connections of a process; an empty list if the process has ended meanwhile."""
    try:
        return list(psutil.Process(pid).net_connections("tcp"))
    except psutil.NoSuchProcess:
        return []


def is_listening(url: str) -> bool:
    """Whether a server listens at the URL."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def wait_until_ended(started: set[int]) -> None:
    """Wait until every process that was started is gone."""
    assert started
    until("every process that was started is gone", STOP_SECONDS, lambda: None if started & alive().keys() else True)


def wait_until_stopped(started: set[int], document: Mapping[str, Any]) -> None:
    """Wait until every process of a stack is gone, and no server listens on the addresses in its `stack.json`."""
    wait_until_ended(started)
    for name in ("aws_endpoint_url", "slack_api_url", "console_url"):
        wait_until_closed(document[name])


def wait_until_closed(url: str) -> None:
    """Wait until no server listens at the URL.

    A killed process counts as a zombie as soon as its first thread has ended. Its other threads may end later and hold
    its sockets until then: https://man7.org/linux/man-pages/man2/exit_group.2.html.
    """
    until(f"nothing listens on {url}", STOP_SECONDS, lambda: None if is_listening(url) else True)
