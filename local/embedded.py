"""The process that MiniStack runs in: it serves on a socket that the runner has bound, and ends when the runner does.

Run as a program. Its standard input is a pipe which the runner holds open and never writes to, so that even a runner
that was killed takes this process, and the Lambda workers in its process group, with it.
"""

import asyncio
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from typing import Final

from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from ministack.app import app

BACKLOG: Final = 1_024
API_CALLS_AT_ONCE: Final = 2 * (os.cpu_count() or 1) + 4


def in_turn(application: ASGIFramework) -> ASGIFramework:
    """Let a few calls of deployed APIs run at once, and the others wait.

    MiniStack starts one more Python process for every invocation that finds the warm ones busy. Of several hundred
    calls at once, each would get a cold start of its own, and all would time out.
    """
    turns = asyncio.Semaphore(API_CALLS_AT_ONCE)

    async def serve_in_turn(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if "/_user_request_" not in str(scope.get("path", "")):
            await application(scope, receive, send)
            return
        async with turns:
            await application(scope, receive, send)

    return serve_in_turn


def end_with_the_runner() -> None:
    """Block until the runner is gone, then end the whole process group."""
    while sys.stdin.buffer.read(1):
        pass
    os.killpg(0, signal.SIGKILL)


def raise_file_limit() -> None:
    """Allow as many connections as the system lets us have. macOS refuses what it calls unlimited."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(socket: int) -> None:
    """Serve on this file descriptor."""
    threading.Thread(target=end_with_the_runner, daemon=True).start()
    raise_file_limit()
    config = Config()
    config.bind = [f"fd://{socket}"]
    config.backlog = BACKLOG
    config.keep_alive_timeout = 75
    asyncio.run(serve(in_turn(app), config))


if __name__ == "__main__":
    main(int(sys.argv[1]))
