"""Breaks any single call that an invocation makes: it kills the process, loses the response, or refuses the call.

This module does not list the calls. botocore passes each AWS call to `BaseClient._make_api_call`, urllib each HTTP call
to `OpenerDirector.open`, and callbacks are sent by `Egress.post`. All three are wrapped, so calls that are added to a
function later are broken too.
"""

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPException
from typing import Any
from unittest.mock import patch
from urllib.error import URLError

from botocore.client import BaseClient
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from assistance.errors import DeliveryError, PermanentFailure, TransientFailure
from assistance.platform.aws import AWS_ERRORS
from callback_consumer.egress import Egress
from tests.faults.aws import Aws
from tests.recorded_calls import meanwhile

Call = Callable[[], Any]
NO_SUCCESS = (*AWS_ERRORS, OSError, HTTPException, DeliveryError)
"""The exceptions of calls that do not succeed."""


class Crash(BaseException):
    """The process was killed. No code may catch this, and calls made in `finally` blocks have no effect."""


class Kind(StrEnum):
    """The kinds of faults."""

    CRASH_BEFORE = "the process dies before the call"
    CRASH_AFTER = "the process dies after the call, before it has the answer"
    CRASH_LATE = "the process dies, and the call takes effect later"
    REFUSED = "the provider throttles the call, or nobody answers"
    TIMEOUT_BEFORE = "the answer never comes, and the call had no effect"
    TIMEOUT_AFTER = "the answer never comes, and the call had its effect"
    TIMEOUT_LATE = "the answer never comes, and the call has its effect later"
    REJECTED = "the provider refuses this very message for good"
    REPEATED = "the answer to the call is lost, and the SDK repeats it"


CRASHES = (Kind.CRASH_BEFORE, Kind.CRASH_AFTER)
REPEATS = (Kind.REPEATED,)
ERRORS = (Kind.REFUSED, Kind.TIMEOUT_BEFORE, Kind.TIMEOUT_AFTER)
REPEATED_BY_THE_SDK = frozenset({"dynamodb", "sns", "sqs", "secretsmanager"})
"""Services whose calls the SDK retries. It does not retry a mail, a post or a callback: it could send those twice."""
READS = frozenset(
    {
        "dynamodb.BatchGetItem",
        "dynamodb.GetItem",
        "dynamodb.Query",
        "sqs.GetQueueAttributes",
        "secretsmanager.GetSecretValue",
    }
)
"""Calls that change nothing."""
_LATE = (Kind.CRASH_LATE, Kind.TIMEOUT_LATE)
_DONE = (Kind.CRASH_AFTER, Kind.TIMEOUT_AFTER)
_THROTTLED = {
    "dynamodb": ("ThrottlingException", 400),
    "sns": ("Throttled", 429),
    "sqs": ("RequestThrottled", 403),
    "sesv2": ("TooManyRequestsException", 429),
    "secretsmanager": ("InternalServiceError", 500),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the call with that number, counted from 0. `late`: seconds until a late effect."""

    call: int
    kind: Kind
    late: int = 0


@dataclass(slots=True)
class FaultInjector:
    """Counts the calls that invocations make, and breaks the one with the planned number.

    `outage` is called with the name of every call. It returns the fault of this call, or None: so it simulates a
    provider that is down.
    """

    fault: Fault | None = None
    outage: Callable[[str], Kind | None] = lambda _: None
    later: Callable[[Call, int], None] = lambda call, _: call()
    meanwhile: tuple[int, Callable[[], object]] | None = None
    """Invocations of other functions, or of the same, that happen just before the call with that number."""
    calls: list[str] = field(default_factory=list)
    first_calls: set[int] = field(default_factory=set)
    """The number of each invocation's first call."""
    running: bool = False
    dead: bool = False
    strikes: int = 0
    """The number of calls broken so far."""

    def plan(self, fault: Fault | None, meanwhile: tuple[int, Callable[[], object]] | None = None) -> None:
        """Count calls from 0 again, and break the one in `fault`. `meanwhile`: a call's number, and a step before."""
        self.fault, self.meanwhile = fault, meanwhile
        self.calls.clear()
        self.first_calls.clear()

    @property
    def struck(self) -> bool:
        """Whether the fault has happened."""
        return self.fault is not None and self.fault.call < len(self.calls)

    @property
    def struck_at(self) -> str:
        """The name of the broken call."""
        return self.calls[self.fault.call] if self.fault else ""

    @contextmanager
    def invocation(self) -> Iterator[None]:
        """Calls within the context count as a function's. Raises `Crash` even if the function caught it."""
        self.running, self.dead = True, False
        self.first_calls.add(len(self.calls))
        try:
            yield
            if self.dead:
                raise Crash
        finally:
            self.running = False

    def around(self, name: str, call: Call, errors: Callable[[Kind], Exception]) -> Any:  # noqa: ANN401
        """Make the call, unless the planned fault or an outage breaks it. `errors`: gives the exception for a fault."""
        if not self.running:
            return call()
        if self.dead:
            raise Crash
        number = len(self.calls)
        self.calls.append(name)
        if self.meanwhile and self.meanwhile[0] == number:
            self._overlap(self.meanwhile[1])
        fault = self.fault if self.fault and self.fault.call == number else None
        kind = fault.kind if fault else self.outage(name)
        if kind is None:
            return call()
        if kind is Kind.REPEATED:
            if name.split(".", maxsplit=1)[0] in REPEATED_BY_THE_SDK:
                self._finish(call)
            return call()
        self.strikes += 1
        if kind in _LATE:
            self.later(call, fault.late if fault else 0)
        if kind in _DONE:
            self._finish(call)
        if kind in {Kind.CRASH_BEFORE, Kind.CRASH_AFTER, Kind.CRASH_LATE}:
            self.dead = True
            raise Crash
        raise errors(kind)

    def _overlap(self, step: Callable[[], object]) -> None:
        """Take the step, in which other processes act without faults, while this invocation waits for its call."""
        fault, calls = self.fault, list(self.calls)
        self.plan(None)
        self.running = False
        with meanwhile():
            step()
        self.fault, self.running, self.dead = fault, True, False
        self.calls[:] = calls

    @staticmethod
    def _finish(call: Call) -> None:
        # The response is lost.
        with suppress(*NO_SUCCESS):
            call()


def _aws_errors(client: Any, operation: str) -> Callable[[Kind], Exception]:  # noqa: ANN401
    service = client.meta.service_model.service_name

    def errors(kind: Kind) -> Exception:
        if kind in {Kind.REFUSED, Kind.REJECTED}:
            code, status = _THROTTLED[service] if kind is Kind.REFUSED else ("MessageRejected", 400)
            answer = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
            error: Exception = client.exceptions.from_code(code)(answer, operation)
            return error
        if kind is Kind.TIMEOUT_BEFORE:
            return ConnectTimeoutError(endpoint_url=service)
        return ReadTimeoutError(endpoint_url=service)

    return errors


def _http_errors(kind: Kind) -> Exception:
    if kind in {Kind.REFUSED, Kind.REJECTED}:
        return URLError(ConnectionRefusedError())
    if kind is Kind.TIMEOUT_BEFORE:
        return URLError(ConnectionResetError())
    return TimeoutError()


def _callback_errors(kind: Kind) -> Exception:
    if kind is Kind.REJECTED:
        return PermanentFailure("http_410")
    return TransientFailure("connection_error", in_doubt=kind is not Kind.REFUSED)


@contextmanager
def injected_faults(injector: FaultInjector, answering: Aws) -> Iterator[None]:
    """Pass every AWS and HTTP call of this process to the injector. `answering` answers AWS calls."""
    open_url = urllib.request.OpenerDirector.open
    answer = answering.calling(BaseClient._make_api_call)  # type: ignore[attr-defined] # noqa: SLF001

    def aws(client: Any, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        name = f"{client.meta.service_model.service_name}.{operation}"
        return injector.around(name, lambda: answer(client, operation, arguments), _aws_errors(client, operation))

    def http(opener: Any, request: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        url = request if isinstance(request, str) else request.full_url
        *_, folder, last = url.split("?")[0].split("/")
        # A `response_url` ends in a token.
        name = f"http.{'response_url' if folder == 'actions' else last}"
        return injector.around(name, lambda: open_url(opener, request, *arguments, **options), _http_errors)

    post = Egress.post

    def call_back(egress: Egress, *arguments: Any) -> Any:  # noqa: ANN401
        return injector.around("callback.post", lambda: post(egress, *arguments), _callback_errors)

    with (
        patch.object(Egress, "post", call_back),
        patch.object(BaseClient, "_make_api_call", aws),
        patch.object(urllib.request.OpenerDirector, "open", http),
    ):
        yield
