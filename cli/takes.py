"""Implements `assistance take` and `release`."""

import uuid
from typing import Final

from assistance.engine import takes
from assistance.engine.takes import Taken
from assistance.store.requests import RequestGone, Requests
from assistance.text import is_blank, one_line
from cli import hints
from cli.errors import Failure

VIA: Final = "operator"
MAX_NAME: Final = 60


def name(typed: str) -> str:
    """A person's name on one line, safe to show. Raises `ValueError` for a name that can't be stored or shown.

    The record holds each take, and DynamoDB limits its size.
    """
    if is_blank(typed):
        raise ValueError("the name must contain a visible character")
    try:
        typed.encode()
    except UnicodeEncodeError:
        raise ValueError("the name must be UTF-8") from None
    if len(shown := one_line(typed)) > MAX_NAME:
        raise ValueError(f"the name must have at most {MAX_NAME} characters")
    return shown


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
