"""Which process the CPU's time went to: the emulated cloud, each of our functions, or the bots."""

import re
from collections import defaultdict
from contextlib import suppress
from typing import Final

import psutil

EMULATOR: Final = "emulated AWS"
BOTS: Final = "bots, Slack's stand-in"
_WORKER: Final = re.compile(r"/ministack-lambda-([^/ ]+)")


class Processes:
    """The CPU time of this process and of all that it has started, those that have ended in the meantime included."""

    def __init__(self, functions: dict[str, str]) -> None:
        """`functions`: the folder of each deployed function, by its name."""
        self._functions = functions
        self._seen: dict[tuple[int, float], tuple[str, float]] = {}
        self._me = psutil.Process()

    def look(self) -> None:
        """Note how much each process has used by now. What a process uses after the last look at it is missed."""
        for process in (self._me, *self._me.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = process.cpu_times()
                key = (process.pid, process.create_time())
                name = self._seen[key][0] if key in self._seen else self._name(process)
                self._seen[key] = (name, times.user + times.system)

    def used(self) -> dict[str, float]:
        """Seconds by whose they were."""
        self.look()
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
