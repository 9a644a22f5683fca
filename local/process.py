"""Child processes that don't outlive the runner."""

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
    """Start a process in a session of its own: a Ctrl-C at the terminal is for the runner to pass on."""
    return subprocess.Popen(command, start_new_session=True, **options)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it started. There is nothing in them that is worth a slower end."""
    with suppress(ProcessLookupError, PermissionError):
        # The session's leader gives its process group its id. macOS answers EPERM for a group of zombies.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
