"""Measures how much CPU time the emulator, each of our functions, and the bots use."""

import re
from collections import defaultdict
from contextlib import suppress
from typing import Final

import psutil

EMULATOR: Final = "emulated AWS"
BOTS: Final = "bots, Slack's stand-in"
"""The name of this process in the results: it runs the bots and the local server that stands in for Slack."""
_WORKER: Final = re.compile(r"/ministack-lambda-([^/ ]+)")


class Processes:
    """The CPU time of this process and of all its descendants, including those that have ended."""

    def __init__(self, functions: dict[str, str]) -> None:
        """`functions`: the folder of each deployed function, by its name."""
        self._functions = functions
        self._seen: dict[tuple[int, float], tuple[str, float]] = {}
        self._me = psutil.Process()

    def sample(self) -> None:
        """Note each process's CPU time so far. The time that a process uses after its last sample is missed."""
        for process in (self._me, *self._me.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = process.cpu_times()
                key = (process.pid, process.create_time())
                name = self._seen[key][0] if key in self._seen else self._name(process)
                self._seen[key] = (name, times.user + times.system)

    def used(self) -> dict[str, float]:
        """The CPU time in seconds, by function's folder, `EMULATOR` or `BOTS`."""
        self.sample()
        total: defaultdict[str, float] = defaultdict(float)
        for name, seconds in self._seen.values():
            total[name] += seconds
        return dict(total)

    def _name(self, process: psutil.Process) -> str:
        if process == self._me:
            return BOTS
        if worker := _WORKER.search(" ".join(process.cmdline())):
            return next((folder for name, folder in self._functions.items() if worker[1].startswith(name)), worker[1])
        return EMULATOR
