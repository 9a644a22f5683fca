"""Simulated time, which passes only while every running thread waits.

One thread runs at a time, until it lets time pass or ends. Then the thread runs that waits for the earliest time.
Nobody really waits: simulated days take moments, and the order is always the same.
"""

import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import count
from typing import Any


class Time:
    """The seconds since the beginning, and the threads that wait for a later time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._turns: list[tuple[float, int, threading.Event]] = []
        self._order = count()
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def spawn(self, work: Callable[[], object]) -> None:
        """Start a thread at the current simulated time."""
        turn = self._turn(self.now)

        def run() -> None:
            turn.wait()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - whoever waits in `run` raises it
                self._errors.append(error)
            self._next()

        threading.Thread(target=run, daemon=True).start()

    def elapse(self, seconds: float) -> None:
        """Let `seconds` of simulated time pass, while other threads run."""
        turn = self._turn(self.now + seconds)
        self._next()
        turn.wait()

    def run(self) -> None:
        """Let time pass until no thread is left. Raises the first error of a thread."""
        self._next()
        self._over.wait()
        if self._errors:
            raise self._errors[0]

    def threads(self, _: int) -> Executor:
        """An executor whose threads take part in the simulated time."""
        return _Pool(self)

    def _turn(self, at: float) -> threading.Event:
        turn = threading.Event()
        heapq.heappush(self._turns, (at, next(self._order), turn))
        return turn

    def _next(self) -> None:
        if not self._turns or self._errors:
            self._over.set()
            return
        self.now, _, turn = heapq.heappop(self._turns)
        turn.set()

    def wait_for(self, future: Future[Any]) -> None:
        """Let other threads run until this future is done."""
        if future.done():
            return
        turn = threading.Event()
        future.add_done_callback(lambda _: heapq.heappush(self._turns, (self.now, next(self._order), turn)))
        self._next()
        turn.wait()


class _Pool(Executor):
    def __init__(self, time: Time) -> None:
        self._time = time

    def submit(self, work: Callable[..., Any], /, *args: object, **kwargs: object) -> Future[Any]:
        future = _Future(self._time)

        def run() -> None:
            try:
                future.set_result(work(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - as in any pool
                future.set_exception(error)

        self._time.spawn(run)
        return future


class _Future(Future[Any]):
    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401
        self._time.wait_for(self)
        return super().result(timeout)
