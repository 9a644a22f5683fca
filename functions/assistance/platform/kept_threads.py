"""Threads that stay for the next invocation: to start new ones takes a tenth of the processor time of a batch."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import cache, partial
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
        """Run the call in a thread, a new one if none is idle. Raises `RuntimeError` if no thread can be started."""
        task = Future[Any]()
        self._tasks.append(task)
        try:
            self._threads.submit(_run, task, partial(call, *arguments, **named))
        except RuntimeError:
            # The call is in the threads' queue all the same. It must not run in a later invocation.
            if task.cancel():
                self._tasks.remove(task)
                raise
        return task

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Wait for the tasks, also for those that other tasks submit meanwhile."""
        ended = set[Future[Any]]()
        while begun := set(self._tasks) - ended:
            wait_for(begun)
            ended |= begun


def _run(task: Future[Any], call: Callable[[], Any]) -> None:
    if not task.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 # as in `ThreadPoolExecutor`: whoever waits for the task gets it
        task.set_exception(error)
    else:
        task.set_result(result)
