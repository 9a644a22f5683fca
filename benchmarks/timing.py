"""Measures programs alternately, in many rounds, so that other load of the machine affects all of them equally."""

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
"""The machine's load average before the measurements, which shows how busy other processes keep it."""
Name = TypeVar("Name")
Sample = TypeVar("Sample")


@dataclass(frozen=True, slots=True)
class Run:
    """The elapsed seconds, the processor seconds, and the peak memory in MB of one process."""

    wall: float
    cpu: float
    memory: float


# The process prints its own peak memory, because the value that the kernel gives to the parent includes the memory from
# before `exec`, which is the parent's.
_PRINT_PEAK_MEMORY = """
try:
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def python(program: str, *arguments: str, environment: Mapping[str, str]) -> Run:
    """Run a program, given as Python code, to its end, without site-packages. Raises `RuntimeError` if it fails."""
    # The real interpreter, not the virtual environment's link to it.
    command = [str(Path(sys.executable).resolve()), "-S", "-c", program + _PRINT_PEAK_MEMORY, *arguments]
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
    """Measure each program once per round, and return its samples. Those of an additional first round are dropped."""
    samples: dict[Name, list[Sample]] = {name: [] for name in measured}
    for number in range(rounds + 1):
        for name, measure in measured.items():
            sample = measure()
            if number:
                samples[name].append(sample)
    return samples


def ratio(samples: Sequence[float], to: Sequence[float]) -> float:
    """The median over the rounds of the ratio between two samples of the same round."""
    return statistics.median(ours / theirs for ours, theirs in zip(samples, to, strict=True))


def when_and_where() -> str:
    """A sentence with the date, the machine, and its load average."""
    return (
        f"Measured on {dt.datetime.now(dt.UTC):%Y-%m-%d} on {os.cpu_count()} cores of {platform.machine()}, "
        f"{platform.system()}, Python {platform.python_version()}. The load average before the start was "
        f"{LOAD_AVERAGE:.1f}."
    )


def write(name: str, *sections: str) -> None:
    """Write the Markdown sections to the page `name` in the folder of this module, and print the page."""
    page = "\n\n".join(sections) + "\n"
    (HERE / name).write_text(page, "utf-8")
    sys.stdout.write(page)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with the first column aligned left, the others right."""
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
