"""Child processes that don't outlive the runner."""

import os
import signal
import subprocess
import sys
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
