"""Runs a Python program that ends when the runner does.

Run as a program, with the other program's path and arguments as its own. Its standard input is a pipe which the runner
holds open and never writes to, so that even a runner that was killed takes the program, and all that it started, with
it.
"""

import os
import runpy
import signal
import sys
import threading
from typing import Final

STANDARD_INPUT: Final = 0


def end_with_the_runner() -> None:
    """Block until the runner is gone, then end the whole process group."""
    # Not by sys.stdin, whose lock a thread must not hold when the interpreter ends.
    while os.read(STANDARD_INPUT, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_the_runner, daemon=True).start()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
