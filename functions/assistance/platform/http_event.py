"""HTTP calls in API Gateway's events: their bodies and headers, and the status of the answer after an error.

https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#apigateway-example-event
"""

import base64
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from assistance.errors import TableUnavailable, TransientFailure, Unreadable
from assistance.platform.observability import logger


class Refused(Exception):
    """A call is refused with this HTTP status. `reason` is logged with the fields `about`, unless it is empty."""

    def __init__(self, status: HTTPStatus, reason: str = "", **about: object) -> None:
        super().__init__(reason)
        self.status, self.about = status, about


ANSWERED: Final = (Refused, TableUnavailable, TransientFailure, Unreadable)
"""The errors after which `status_of` says how to answer the call."""


def status_of(error: Exception) -> HTTPStatus:
    """The HTTP status that answers a call after one of the errors in `ANSWERED`, which this logs."""
    match error:
        case Refused():
            if reason := str(error):
                logger.warning(reason, extra=error.about)
            return error.status
        case Unreadable():
            logger.error("a request can't be read", wrong=str(error))
            return HTTPStatus.INTERNAL_SERVER_ERROR
    logger.error("a call could not be handled", error_code=str(error))
    return HTTPStatus.SERVICE_UNAVAILABLE


def body_of(event: dict[str, Any]) -> str | None:
    """The body as text; None if it can't be decoded."""
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body)
    try:
        return base64.b64decode(body, validate=True).decode()
    except ValueError:
        return None


def headers_of(event: Mapping[str, Any]) -> dict[str, set[str]]:
    """Each header's distinct values, by its name in lower case. Of several, a proxy may use one, and we another.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, value in (event.get("headers") or {}).items():
        found[name.lower()].add(value)
    for name, values in (event.get("multiValueHeaders") or {}).items():
        found[name.lower()].update(values)
    return found
