"""Implements `assistance take` and `release`."""

import uuid
from typing import Final

from assistance.engine import takes
from assistance.engine.takes import Taken
from assistance.store.requests import RequestGone, Requests
from cli import hints
from cli.errors import Failure

VIA: Final = "operator"


def take(requests: Requests, request_id: str, name: str) -> Taken:
    """Take a request in that person's name. Raises `Failure` if somebody has taken it already, or if it has expired."""
    try:
        taken = takes.take(requests, request_id, uuid.uuid4().hex, by=name, via=VIA)
    except RequestGone:
        raise _no_such_request(request_id) from None
    if not taken.is_new:
        held = taken.take
        raise Failure(
            f"{held.by} has taken request {request_id} already: "
            f"after '{hints.command('release', request_id)}' somebody else can take it"
        )
    return taken


def release(requests: Requests, request_id: str, operator: str) -> str:
    """Release a request in the operator's name, and return who had taken it.

    Raises `Failure` if nobody has taken it, if somebody else takes it meanwhile, or if it has expired.
    """
    try:
        held = requests.read(request_id).record.taken
        if held is None:
            raise Failure(f"nobody has taken request {request_id}, so nothing was released")
        now = takes.release(requests, request_id, held.id, by=operator, via=VIA).record.taken
        if now is not None:
            raise Failure(f"{now.by} has taken request {request_id} meanwhile, so nothing was released")
    except RequestGone:
        raise _no_such_request(request_id) from None
    return held.by


def _no_such_request(request_id: str) -> Failure:
    return Failure(f"request {request_id} has expired: nothing was changed")
