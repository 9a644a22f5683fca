"""Every error that the API answers, as RFC 9457 `application/problem+json`: https://www.rfc-editor.org/rfc/rfc9457."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from aws_lambda_powertools.event_handler import Response

TYPE_PREFIX: Final = "urn:assistance:problem:"
CONTENT_TYPE: Final = "application/problem+json"
_DETAILS: Final = "#/details"


@dataclass(slots=True)
class Problem(Exception):
    """An error answer. `slug` is the last part of its `type`. `errors` has an entry for each wrong field or header."""

    status: HTTPStatus
    slug: str
    detail: str
    title: str | None = None
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> list[str]:
        """The wrong fields and headers, for the log: without the labels of details, which may be a customer's text."""
        found = (each.get("header") or each["pointer"] for each in self.errors)
        return sorted({_DETAILS if place.startswith(f"{_DETAILS}/") else place for place in found})

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


not_utf_8 = partial(
    Problem, HTTPStatus.BAD_REQUEST, "not-utf-8", "The body is not UTF-8. Send a JSON object encoded in UTF-8."
)
unsupported_media_type = partial(
    Problem,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported-media-type",
    "The body must be JSON: send it with 'Content-Type: application/json'.",
)
invalid = partial(
    Problem,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid-request",
    "The request is not valid. 'errors' says what is wrong with each field.",
    "Unprocessable Content",
)
# https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/, section 2.7
idempotency_key_reused = partial(
    Problem,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "idempotency-key-reused",
    "This Idempotency-Key was used before with another body. Use a new key for a new request.",
    "Unprocessable Content",
)
# The table gave no answer, but may hold the request.
unavailable = partial(
    Problem,
    HTTPStatus.SERVICE_UNAVAILABLE,
    "unavailable",
    "The request can't be handled now. Repeat it, with the same Idempotency-Key, after the time in Retry-After.",
    headers={"Retry-After": "2"},
)
# A bug of the API, or a damaged item. The answer says nothing about the cause.
internal_error = partial(
    Problem, HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "Something went wrong on our side."
)


def not_json(why: str = "") -> Problem:
    """400: the body is not JSON. `why`: the place of the error, such as `line 1, column 17`, or what is wrong."""
    why = f" ({why})" if why else ""
    detail = f"The body is not JSON{why}. Send a JSON object encoded in UTF-8."
    return Problem(HTTPStatus.BAD_REQUEST, "not-json", detail)


def not_found(what: str) -> Problem:
    """404: `what` does not exist."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"There is no such {what}.")


def content_too_large(limit: int) -> Problem:
    """413: the body has more than `limit` bytes."""
    status, detail = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit} bytes."
    return Problem(status, "content-too-large", detail, title="Content Too Large")
