"""Measuring side by side: in turns, many times, so that whatever else the machine does meets all alike."""

import datetime as dt
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

HERE = Path(__file__).parent
LOAD_AVERAGE = os.getloadavg()[0]
"""Before anything is measured: how busy others keep the machine."""
Name = TypeVar("Name")
Sample = TypeVar("Sample")


@dataclass(frozen=True, slots=True)
class Run:
    """What one process took: seconds by the clock, seconds of a processor, and the most memory it held, in MB."""

    wall: float
    cpu: float
    memory: float


# Its own: what the kernel tells its parent of a process includes the parent's, from before there was another program.
_TELL_PEAK = """
try:
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def python(program: str, *arguments: str, environment: Mapping[str, str]) -> Run:
    """Run a program to its end, with nothing of site-packages. Raises `RuntimeError` if it fails."""
    # A real interpreter, and none of a virtual environment's.
    command = [str(Path(sys.executable).resolve()), "-S", "-c", program + _TELL_PEAK, *arguments]
    with TemporaryFile() as said:
        began = time.perf_counter()
        output = [(os.POSIX_SPAWN_DUP2, said.fileno(), 1)]
        pid = os.posix_spawn(command[0], command, environment, file_actions=output)
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - began
        said.seek(0)
        lines = said.read().splitlines()
    if status:
        raise RuntimeError(f"{arguments} ended with {os.waitstatus_to_exitcode(status)}")
    return Run(wall, usage.ru_utime + usage.ru_stime, int(lines[-1]) / 1024)


def in_turns(measured: Mapping[Name, Callable[[], Sample]], rounds: int) -> dict[Name, list[Sample]]:
    """Measure each once a round, after a first round that does not count."""
    samples: dict[Name, list[Sample]] = {name: [] for name in measured}
    for number in range(rounds + 1):
        for name, measure in measured.items():
            sample = measure()
            if number:
                samples[name].append(sample)
    return samples


def ratio(samples: Sequence[float], to: Sequence[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(ours / theirs for ours, theirs in zip(samples, to, strict=True))


def when_and_where() -> str:
    """The date, the machine, and how busy that was."""
    return (
        f"Measured on {dt.datetime.now(dt.UTC):%Y-%m-%d} on {os.cpu_count()} cores of {platform.machine()}, "
        f"{platform.system()}, Python {platform.python_version()}. The load average before the start was "
        f"{LOAD_AVERAGE:.1f}."
    )


def write(name: str, *sections: str) -> None:
    """Write a page beside this file, and show it."""
    page = "\n\n".join(sections) + "\n"
    (HERE / name).write_text(page, "utf-8")
    sys.stdout.write(page)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
