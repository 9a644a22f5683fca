"""Starts child processes that end when this process does, and lists processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

GUARD: Final = Path(__file__).with_name("end_with_parent.py")


def start(program: Path, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
    """Start a Python program that ends with this process, but gets no Ctrl-C. `options`: for `subprocess.Popen`."""
    return subprocess.Popen(
        # -P: without it, modules in the folder of end_with_parent.py would hide those of the standard library.
        [sys.executable, "-P", str(GUARD), str(program), *arguments],
        stdin=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children at once. They have nothing to save, so they need no orderly end."""
    with suppress(ProcessLookupError, PermissionError):
        # The process leads its session, so its id is also the id of its process group. For a group of zombies, macOS
        # answers EPERM.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin:
        process.stdin.close()


def descendants(ancestor: int) -> set[int]:
    """The ids of the process's children, of their children, and so on."""
    found = {ancestor}
    parents = alive()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


def alive() -> dict[int, int]:
    """The parent's id of every running process, by the process's id. Zombies are left out."""
    processes = list(_linux()) if Path("/proc/self/stat").exists() else list(_posix())
    return {int(pid): int(parent) for pid, state, parent in processes if state[0] not in "ZX"}


def _linux() -> Iterator[list[str]]:
    """Yield each process's id, state and parent's id, from /proc, because small container images lack `ps`.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # The process has just ended.
            before, _, after = path.read_text("utf-8", "replace").rpartition(") ")
            yield [before.split()[0], *after.split()[:2]]


def _posix() -> Iterator[list[str]]:
    listing = subprocess.run(("/bin/ps", "-A", "-o", "pid=,stat=,ppid="), check=True, capture_output=True, text=True)
    yield from (line.split() for line in listing.stdout.splitlines())


def command_line(pid: int) -> str:
    """Return the command line of a process, or an empty string if the process has ended."""
    path = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/stat").exists():
        try:
            return path.read_text("utf-8", "replace").replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    command = ("/bin/ps", "-p", str(pid), "-o", "command=")
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout
