"""Implements `assistance smoke`: sends one test request per topic, and waits until each is delivered or has failed."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from time import monotonic, sleep
from typing import Any, Final

from assistance.domain.record import Status
from assistance.errors import TableUnavailable, Unreadable
from assistance.routing import read as read_routes
from cli import requests, takes
from cli.errors import Failure
from cli.stack import Stack

# Longer than a cold start plus the reconciler's first sweep, which publishes the request if the stream does not.
SECONDS: Final = 240
TESTER: Final = "the smoke test"
BODY: Final = {
    "description": "This is a test after a deployment (assistance smoke). No customer asks; nobody needs to answer.",
    "customer": {"name": "Smoke test, no customer"},
    "reference": "assistance smoke",
}
_PAUSES: Final = (0.5, 1, 2, 4, 8)
_ENDED: Final = frozenset({Status.DELIVERED, Status.FAILED})
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one topic's test. `by`: the channels that delivered the request.

    `problem` is None if the topic's own channels delivered it; a delivery by the fallback is a problem.
    """

    topic: str
    request_id: str | None
    by: tuple[str, ...]
    problem: str | None


def patience(seconds: float = SECONDS) -> Callable[[], bool]:
    """Return a `pause` for `watch_each` that returns False once `seconds` have passed.

    The pauses grow up to eight seconds, because each look at a request counts towards the quota of the bots' key.
    """
    deadline, pauses = monotonic() + seconds, chain(_PAUSES, repeat(_PAUSES[-1]))

    def pause() -> bool:
        sleep(max(0, min(next(pauses), deadline - monotonic())))
        return monotonic() < deadline

    return pause


def watch_each(
    topics: Sequence[str],
    send: Callable[[str], str],
    read: Callable[[str], Document],
    pause: Callable[[], bool],
) -> Iterator[Result]:
    """Send one request per topic, then yield each result as it becomes known.

    `send` returns a request's id, `read` the API's answer about it; both may raise `Failure`. `pause` waits before the
    next read, and returns False when the time is over.
    """
    waiting: dict[str, str] = {}
    for topic in topics:
        try:
            waiting[topic] = send(topic)
        except Failure as error:
            yield Result(topic, None, (), str(error))
    more = True
    while waiting:
        for topic, request_id in list(waiting.items()):
            try:
                document = read(request_id)
            except Failure as error:
                # One failed read proves nothing: the next may succeed.
                document = {"status": f"unknown: {error}", "deliveries": ()}
            if document["status"] in _ENDED or not more:
                del waiting[topic]
                yield _result(topic, request_id, document)
        more = more and bool(waiting) and pause()


def _result(topic: str, request_id: str, document: Document) -> Result:
    deliveries = document.get("deliveries", ())
    by = tuple(each["channel"] for each in deliveries if each["status"] == Status.DELIVERED)
    errors = [f"{it['channel']}: {it.get('last_error', it['status'])}" for it in deliveries if it["channel"] not in by]
    if document["status"] == Status.DELIVERED and "fallback" not in document:
        return Result(topic, request_id, by, None)
    if fallback := document.get("fallback"):
        errors = [f"{fallback['failed_channel']}: {fallback['error']}"]
    status = "in time" if document["status"] not in _ENDED else "on its own channel"
    so_far = "" if document["status"] in _ENDED else f" (status {document['status']})"
    return Result(topic, request_id, by, f"not delivered {status}{so_far}{''.join(f', {it}' for it in errors)}")


def run(stack: Stack, pause: Callable[[], bool]) -> Iterator[Result]:
    """Test each topic of the deployed routes, and take each test request if the stack lets people take requests.

    `pause` waits before each further look at the requests, and returns False when the time is over.
    """
    topics = list(read_routes(stack.environment("api")["ROUTES"]))
    takes_requests = stack.environment("reconciler").get("TAKE") == "true"

    def send(topic: str) -> str:
        return str(requests.send(stack, {"topic": topic, **BODY}, str(uuid.uuid4()))["id"])

    for result in watch_each(topics, send, lambda request_id: requests.fetch(stack, request_id), pause):
        untaken = _take(stack, result.request_id) if takes_requests and result.request_id else None
        problems = ", ".join(filter(None, (result.problem, untaken)))
        yield replace(result, problem=problems or None)


def _take(stack: Stack, request_id: str) -> str | None:
    """Take the test request, so that it is not escalated to the fallback. Returns why that failed, or None.

    A human may have taken it already.
    """
    try:
        takes.take(stack.requests(), request_id, TESTER)
    except Failure:
        return None
    except (TableUnavailable, Unreadable) as error:
        return f"test request not taken, so the fallback may get it too ({error})"
    return None
