"""Threads that stay for the next invocation: to start new ones takes a tenth of the processor time of a batch."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import cache
from typing import Any

_executor = cache(ThreadPoolExecutor)


class KeptThreads(Executor):
    """Runs tasks in threads, and at its end waits for them, like a `ThreadPoolExecutor`. But the threads stay.

    All executors with the same `limit` share at most that many threads. So a task must not wait for another executor's.
    """

    def __init__(self, limit: int) -> None:
        self._threads: ThreadPoolExecutor = _executor(limit)
        self._tasks: list[Future[Any]] = []

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401
        """Run the call in a thread, a new one if none is idle."""
        task = self._threads.submit(call, *arguments, **named)
        self._tasks.append(task)
        return task

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Wait for the tasks."""
        wait_for(self._tasks)
