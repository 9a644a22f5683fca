"""Runs another Python program, and kills it when the parent process ends.

The arguments are the other program's path and its arguments. Standard input is a pipe that the parent holds open and
never writes to. When the parent ends, even if it is killed, the system closes the pipe, and this program kills its
process group.
"""

import os
import runpy
import signal
import sys
import threading
from typing import Final

STANDARD_INPUT: Final = 0


def end_with_parent() -> None:
    """Block until the parent process has ended, then kill this process group."""
    # Not with sys.stdin: a daemon thread must not hold its lock when the interpreter exits.
    while os.read(STANDARD_INPUT, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
