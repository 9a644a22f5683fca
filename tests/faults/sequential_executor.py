"""An executor without threads, so that calls have the same order in every run."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class InTurn(Executor):
    """Runs each task in the thread that waits for its result: one task after another, always in the same order.

    A task that waits for the other tasks of its batch runs those tasks meanwhile.
    """

    def __init__(self, _: int) -> None:
        self._work = deque[Callable[[], None]]()

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401
        future = _Awaited(self._work)

        def work() -> None:
            try:
                future.set_result(call(*arguments, **named))
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)

        self._work.append(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        while self._work:
            self._work.popleft()()


class _Awaited(Future[Any]):
    def __init__(self, work: deque[Callable[[], None]]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> Any:  # noqa: ANN401, ARG002
        while self._work and not self.done():
            self._work.popleft()()
        # No other thread would run the task.
        return super().result(timeout=0)
