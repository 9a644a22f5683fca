"""Starts child processes that end with the runner."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

GUARD: Final = Path(__file__).with_name("guarded.py")


def start(program: Path, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
    """Start a Python program in a session of its own: a Ctrl-C at the terminal is for the runner to pass on."""
    return subprocess.Popen(
        # -P: the modules beside the guard must not hide the standard library's.
        [sys.executable, "-P", str(GUARD), str(program), *arguments],
        stdin=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it started. There is nothing in them that is worth a slower end."""
    with suppress(ProcessLookupError, PermissionError):
        # The session's leader gives its process group its id. macOS answers EPERM for a group of zombies.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


def descendants(ancestor: int) -> set[int]:
    """The processes that this one has started, and those that these have."""
    found = {ancestor}
    parents = alive()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


def alive() -> dict[int, int]:
    """The parent of every process that runs; zombies don't."""
    processes = list(_linux()) if Path("/proc/self/stat").exists() else list(_posix())
    return {int(pid): int(parent) for pid, state, parent in processes if state[0] not in "ZX"}


def _linux() -> Iterator[list[str]]:
    """Without procps, which a small image lacks: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # It has just ended.
            before, _, after = path.read_text("utf-8", "replace").rpartition(") ")
            yield [before.split()[0], *after.split()[:2]]


def _posix() -> Iterator[list[str]]:
    listing = subprocess.run(("/bin/ps", "-A", "-o", "pid=,stat=,ppid="), check=True, capture_output=True, text=True)
    yield from (line.split() for line in listing.stdout.splitlines())


def command_line(pid: int) -> str:
    """Return the command line of the process, empty if it has ended."""
    path = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/stat").exists():
        try:
            return path.read_text("utf-8", "replace").replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    command = ("/bin/ps", "-p", str(pid), "-o", "command=")
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout
