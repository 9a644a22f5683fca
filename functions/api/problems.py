"""Every error that the API answers, as RFC 9457 `application/problem+json`.

Clients should branch on `type`, which stays the same in later versions. `title` and `detail` are for people.
https://www.rfc-editor.org/rfc/rfc9457
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from aws_lambda_powertools.event_handler import Response

TYPE_PREFIX: Final = "urn:assistance:problem:"
CONTENT_TYPE: Final = "application/problem+json"


@dataclass(slots=True)
class Problem(Exception):
    """An error answer. `slug` is the last part of its `type`. `errors` has an entry for each wrong field."""

    status: HTTPStatus
    slug: str
    detail: str
    title: str | None = None
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response[str]:
        """The HTTP answer, with the problem as a JSON document."""
        document: dict[str, Any] = {
            "type": TYPE_PREFIX + self.slug,
            "title": self.title or self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return Response(self.status.value, CONTENT_TYPE, json.dumps(document), headers=dict(self.headers))


def not_json(where: str = "") -> Problem:
    """400: the body is not JSON. `where`: the place of the error, such as `line 1, column 17`."""
    place = f" ({where})" if where else ""
    detail = f"The body is not JSON{place}. Send a JSON object encoded in UTF-8."
    return Problem(HTTPStatus.BAD_REQUEST, "not-json", detail)


def not_utf_8() -> Problem:
    """400: the body's bytes are not UTF-8."""
    return Problem(HTTPStatus.BAD_REQUEST, "not-utf-8", "The body is not UTF-8. Send a JSON object encoded in UTF-8.")


def not_found(what: str) -> Problem:
    """404: `what` does not exist."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"There is no such {what}.")


def content_too_large(limit: int) -> Problem:
    """413: the body has more than `limit` bytes."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "content-too-large",
        f"The body is larger than {limit} bytes.",
        title="Content Too Large",
    )


def unsupported_media_type() -> Problem:
    """415: the `Content-Type` is not JSON."""
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        "The body must be JSON: send it with 'Content-Type: application/json'.",
    )


def invalid(errors: Sequence[Mapping[str, str]]) -> Problem:
    """422: some fields or headers of the call are not valid. `errors` has an entry for each of them."""
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        "The request is not valid. 'errors' says what is wrong with each field.",
        title="Unprocessable Content",
        errors=errors,
    )


def idempotency_key_reused() -> Problem:
    """422: the Idempotency-Key was used before with another body.

    https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/, section 2.7
    """
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "This Idempotency-Key was used before with another body. Use a new key for a new request.",
        title="Unprocessable Content",
    )


def unavailable() -> Problem:
    """503: the table gave no answer, but may hold the request. With an Idempotency-Key the call can be repeated."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "unavailable",
        "The request can't be handled now. Repeat it, with the same Idempotency-Key, after the time in Retry-After.",
        headers={"Retry-After": "2"},
    )


def internal_error() -> Problem:
    """500: a bug of the API, or a damaged item. The answer says nothing about the cause."""
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "Something went wrong on our side.")
