"""Invocations that stop before each call, so that a trace decides when the call is made and with what result.

Each runs in a thread of its own, but only one thread runs at any time: the thread of the trace, or that of the
invocation that the trace lets run until its next call.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, TypeAlias

from botocore.exceptions import ClientError

from tests.faults.fault_injection import Call, Crash, FaultInjector, Kind
from tests.recorded_calls import meanwhile

Errors: TypeAlias = Callable[[Kind], Exception]
Then: TypeAlias = Callable[[Call, Errors], Any]
"""Decides what happens to a call: makes it or not, and returns its response or raises an error."""

PUT: Final = "dynamodb.PutItem"
MARK: Final = "dynamodb.UpdateItem"
PUBLISH: Final = "sns.PublishBatch"
DEAD_LETTER: Final = "sqs.SendMessage"
SEARCH: Final = "http.conversations.history"
SENDS: Final = frozenset({"http.chat.postMessage", "sesv2.SendEmail", "callback.post"})
GATES: Final = frozenset({PUT, MARK, PUBLISH, DEAD_LETTER, SEARCH, *SENDS})
_PATIENCE_SECONDS: Final = 60


def passes(call: Call, errors: Errors) -> Any:  # noqa: ANN401
    """Make the call."""
    return call()


def dies(call: Call, errors: Errors) -> Any:  # noqa: ANN401
    """Kill the process before the call."""
    raise Crash


def fails(kind: Kind) -> Then:
    """Return a `Then` that does not make the call, and raises the error of this kind."""

    def then(call: Call, errors: Errors) -> Any:  # noqa: ANN401
        raise errors(kind)

    return then


def loses_the_answer(call: Call, errors: Errors) -> Any:  # noqa: ANN401
    """Make the call, and lose its response."""
    call()
    raise errors(Kind.TIMEOUT_AFTER)


class Invocation:
    """One invocation, from its first call to its end.

    `gate`: the call before which it waits, or None once it has ended.
    """

    def __init__(self, gates: "Gates", call: Callable[[], Any]) -> None:
        self.gate: str | None = None
        self.answer: Any = None
        self.error: BaseException | None = None
        self._gates = gates
        self._orders, self._arrivals = SimpleQueue[Then](), SimpleQueue[str | None]()
        self._again: Then | None = None
        self._dead = False
        self._run(Thread(target=self._live, args=(call,), daemon=True).start)

    @property
    def was_killed(self) -> bool:
        return isinstance(self.error, Crash)

    def go_on(self, then: Then = passes) -> None:
        """Let the invocation make the call before which it waits. It then runs until its next call or its end.

        `then` decides what happens to the call.
        """
        assert self.gate, "it has ended"
        self._run(lambda: self._orders.put(then))

    def _run(self, start: Callable[[], None]) -> None:
        self._gates.current = self
        start()
        try:
            self.gate = self._arrivals.get(timeout=_PATIENCE_SECONDS)
        except Empty:
            raise AssertionError(f"it hangs after {self.gate}") from None
        finally:
            self._gates.current = None

    def _live(self, call: Callable[[], Any]) -> None:
        try:
            self.answer = call()
        except BaseException as error:  # noqa: BLE001 # whatever ends it, the trace looks at it
            self.error = error
        self._arrivals.put(None)

    def meets(self, name: str, call: Call, errors: Errors) -> Any:  # noqa: ANN401
        """Make the call `name`. If it is in `GATES`, wait for `go_on(then)` first: `then` lets it pass or fail."""
        if self._dead:
            raise Crash
        if name not in GATES:
            return call()
        if self._again and name == PUT:
            # A write that conflicts with another one is repeated: in the model both are one step.
            then = self._again
        else:
            with meanwhile():
                self._arrivals.put(name)
                then = self._orders.get()
        self._again, self._dead = None, then is dies
        try:
            return then(call, errors)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                self._again = then
            raise


class Gates(FaultInjector):
    """Intercepts every call, in place of the fault injector. Calls outside of invocations are made at once."""

    def __init__(self) -> None:
        super().__init__()
        self.current: Invocation | None = None

    def around(self, name: str, call: Call, errors: Errors) -> Any:  # noqa: ANN401
        return self.current.meets(name, call, errors) if self.current else call()
