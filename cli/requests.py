"""Implements `assistance send`, `status`, `watch`, `list` and `resend`."""

import json
import shlex
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from http.client import HTTPException
from itertools import islice
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
)

from assistance.domain import transitions
from assistance.domain.record import Record, Status
from assistance.errors import Unreadable
from assistance.history import RESEND, RequestRecord
from assistance.ids import is_request_id
from assistance.platform.clock import epoch_ms, timestamp, utc_now
from assistance.routing import Channel
from assistance.store.requests import RequestGone, Requests
from assistance.store.schema import PARTITION_KEY
from cli import hints, id_prefixes
from cli.errors import Failure
from cli.stack import Stack

_TIMEOUT_SECONDS: Final = 30
_SIDE_BY_SIDE: Final = 10


def send(stack: Stack, body: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Send `body` to the API with this Idempotency-Key, and return the accepted request. Raises `Failure`."""
    if not (key.isascii() and key.isprintable()):
        # Python's own exception would be taken for an API that does not answer.
        raise Failure("nothing was sent: the Idempotency-Key must consist of printable ASCII characters")
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    repeat = f"repeat the command with --idempotency-key {shlex.quote(key)}; the API then accepts the request only once"
    return _call(stack, "/assistance-requests", headers, json.dumps(body).encode(), repeat)


def fetch(stack: Stack, request_id: str) -> dict[str, Any]:
    """Fetch a request from the API. Raises `Failure`."""
    return _call(stack, f"/assistance-requests/{request_id}", {}, None, "try again")


@cache
def _opener() -> OpenerDirector:
    """Makes HTTP calls, and takes a redirect for an error: urllib would send the API key to the other address, too."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPErrorProcessor, HTTPDefaultErrorHandler):
        opener.add_handler(handler())
    return opener


def _call(stack: Stack, path: str, headers: Mapping[str, str], body: bytes | None, repeat: str) -> dict[str, Any]:
    # The first deployment creates the target of the custom domain's DNS record, so the record comes later.
    gateway = stack.outputs.get("ApiGatewayUrl")
    url = gateway if gateway and not stack.resolves() else stack.output("ApiUrl")
    call = urllib.request.Request(  # noqa: S310 # the stack's own address
        f"{url}{path}", body, {**headers, "x-api-key": stack.api_key()}
    )
    try:
        with _opener().open(call, timeout=_TIMEOUT_SECONDS) as answer:
            answered = json.load(answer)
    except HTTPError as error:
        passes = error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code == HTTPStatus.TOO_MANY_REQUESTS
        raise Failure(f"the API answered {error.code}: {_detail(error)}{f'; {repeat}' if passes else ''}") from error
    except (OSError, HTTPException, ValueError) as error:
        # A proxy may have answered, or cut the answer off.
        raise Failure(f"no answer from the API ({type(error).__name__}): {repeat}") from error
    if not isinstance(answered, dict):
        raise Failure(f"no answer from the API (the text is no JSON object): {repeat}")
    return answered


def _detail(error: HTTPError) -> str:
    try:
        problem = json.load(error)
        wrong = [
            f"{each.get('pointer', each.get('header', ''))}: {each['detail']}" for each in problem.get("errors", [])
        ]
        return "; ".join(wrong) or str(problem["detail"]).rstrip(".")
    except (AttributeError, LookupError, OSError, HTTPException, TypeError, ValueError):
        # Another server, such as a proxy, has answered.
        return "no reason given"


def canonical(typed: str) -> str:
    """The id that somebody typed, in lower case. Raises `ValueError` if the text is not a request's id."""
    # https://www.rfc-editor.org/rfc/rfc9562#section-4: input may be in upper case.
    written = typed.lower()
    if not is_request_id(written):
        raise ValueError("no request's id")
    return written


def find(requests: Requests, typed: str) -> RequestRecord:
    """The request with the typed id, or with the only id that begins so. Raises `Failure` and `Unreadable`."""
    try:
        request_id = canonical(typed)
    except ValueError:
        request_id = id_prefixes.completed(requests, typed)
    record = requests.get(request_id)
    if record is None:
        raise Failure(f"there is no request {request_id}: check the id and the --stack")
    return record


@dataclass(frozen=True, slots=True)
class Step:
    """An event in a request's history. `what` is a status. `channel` is None for an event of the request as a whole.

    `resend` is the id of the operator's resend if the event belongs to one, else None.
    """

    at: str
    what: str
    channel: str | None = None
    resend: str | None = None
    error: str | None = None
    in_doubt: bool = False


def follow(read: Callable[[], RequestRecord], pause: Callable[[], bool]) -> Iterator[Step]:
    """Yield each event of a request and its resends once, until every delivery has a final status.

    `pause` waits before the next read, and returns False when the time is over.
    """
    seen: set[Step] = set()
    while True:
        record = read()
        for step in sorted(_steps(record) - seen, key=lambda step: step.at):
            seen.add(step)
            yield step
        if not record.record.unfinished or not pause():
            return


def _steps(record: RequestRecord) -> set[Step]:
    steps = {Step(record.request.created_at, Status.ACCEPTED)}
    if record.published_at:
        steps.add(Step(record.published_at, Status.PUBLISHED))
    for delivery in record.deliveries:
        steps |= {
            Step(attempt.at, attempt.outcome, delivery.channel, delivery.resend, attempt.error, attempt.in_doubt)
            for attempt in delivery.timeline
        }
    return steps


@dataclass(frozen=True, slots=True)
class Listed:
    """The requests that a search found. `unreadable`: a line for each request that could not be read, saying why."""

    records: list[RequestRecord]
    unreadable: list[str]


def search(
    requests: Requests,
    *,
    since: datetime,
    before: datetime,
    statuses: frozenset[Status],
    limit: int,
    untaken: bool = False,
) -> Listed:
    """The newest `limit` requests that were accepted from `since` until before `before`, newest first.

    `statuses`: only requests with one of these statuses; empty means any status. `untaken`: only requests that nobody
    has taken.

    A request that has just been accepted may be missing: the index follows its table, usually within a second.
    """
    until = timestamp(before - timedelta(milliseconds=1))
    found = requests.items.accepted(timestamp(since), until, newest_first=True)
    unreadable: list[str] = []

    def read(request_id: str) -> RequestRecord | None:
        try:
            return requests.get(request_id)
        except Unreadable as error:
            unreadable.append(str(error))
            return None

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:

        def matching() -> Iterator[RequestRecord]:
            newest_first = (str(item[PARTITION_KEY]) for item in found)
            # Read in chunks, and stop once `limit` requests match.
            while chunk := list(islice(newest_first, max(limit, _SIDE_BY_SIDE))):
                for record in pool.map(read, chunk):
                    if record is None or (statuses and record.status not in statuses):
                        continue
                    if not (untaken and record.record.taken):
                        yield record

        return Listed(list(islice(matching(), limit)), unreadable)


def resend(requests: Requests, request_id: str, channel: Channel, act: str) -> None:
    """Add a resend by the channel to the request's record and outbox. `act`: the resend's id.

    Raises `Failure` if the request has expired or is erased, or if a delivery by that channel is not finished.
    """

    def again(record: Record) -> tuple[Record, bool]:
        if record.erased_at is not None:
            raise erased(request_id)
        added = transitions.resend(record, f"{RESEND}{act}", channel, now=epoch_ms(utc_now()))
        return added or record, added is not None

    try:
        _, added = requests.change(request_id, again)
    except RequestGone:
        raise Failure(f"request {request_id} has expired: nothing was resent") from None
    if not added:
        raise still_on_its_way(request_id, channel)


def erased(request_id: str) -> Failure:
    """The error if a request can't be resent because its text is erased."""
    return Failure(f"somebody has erased request {request_id}: there is nothing to resend")


def still_on_its_way(request_id: str, channel: Channel) -> Failure:
    """The error if a request can't be resent by a channel because a delivery by that channel is not finished."""
    return Failure(
        f"request {request_id} is still on its way by {channel}, so nothing was resent: "
        f"'{hints.command('watch', request_id)}' follows it; resend it once it is delivered or has failed"
    )
