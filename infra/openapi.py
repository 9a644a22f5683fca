"""The API's OpenAPI document, made from the models and routes that the API uses.

`make docs` writes it to `functions/api/openapi.json`, which the API serves. https://spec.openapis.org/oas/v3.1.1.html
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from api import problems
from api.body import Call
from api.calls import MAX_BODY_BYTES, MAX_IDEMPOTENCY_KEY_CHARACTERS
from api.problems import CONTENT_TYPE, TYPE_PREFIX, Problem
from assistance.domain.record import Status
from assistance.history import Delivery
from assistance.models import AssistanceRequest, Fallback
from assistance.routing import Channel, routes, topics
from assistance.text import INVISIBLE

VERSION: Final = "1.0.0"
_JSON: Final = "application/json"
_ID: Final = "01a20fa8-5b90-7fa9-b941-323657d933b5"
_NOW: Final = "2026-01-31T09:30:00.000Z"
_NOT_BLANK: Final = rf"[^\s\u001c-\u001f\u0085{INVISIBLE}]"
_OUTCOMES: Final = [Status.SENDING, Status.DELIVERED, Status.RETRYING, Status.FAILED, "unknown"]

Json = dict[str, Any]


class Links(BaseModel):
    """A request's links, relative to the API's address. `self` leads to the request."""

    self: Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]


class Summary(BaseModel):
    """A request, without the customer's texts."""

    id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    topic: str
    status: Status
    created_at: str
    links: Links


class Handling(BaseModel):
    """A human has taken or released the request: when, under which name other humans know them, and by which means."""

    at: str
    by: str
    via: Literal["slack", "email", "teams", "operator"]


class Accepted(Summary):
    """An accepted request. `ignored`: the names of the call's members that the API does not know."""

    ignored: list[str] | None = None


class WithReference(Summary):
    """A request, with the bot's own id of it (`reference`), if the bot has sent one."""

    reference: str | None = None


class Details(WithReference):
    """A request with its deliveries.

    `fallback` is present once delivery on a channel of the request has failed for good, and `taken` while a human has
    the request.
    """

    published_at: str | None = None
    fallback: Fallback | None = None
    taken: Handling | None = None
    deliveries: list[Delivery]


class Occurred(WithReference):
    """The request at the time of a callback, with the human who took or released it if the callback reports that."""

    taken: Handling | None = None
    released: Handling | None = None


class Event(BaseModel):
    """The body of a callback: what has happened to the request, and when."""

    type: Literal[
        "assistance_request.delivered",
        "assistance_request.failed",
        "assistance_request.taken",
        "assistance_request.released",
    ]
    timestamp: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    data: Occurred


class FieldError(BaseModel):
    """What is wrong with one field of the body (a JSON Pointer), or with one header."""

    pointer: str | None = None
    header: str | None = None
    detail: str


class ProblemDocument(BaseModel):
    """An error, as in RFC 9457. Branch on `type`; the rest is for people."""

    type: str
    title: str
    status: int | None = None
    detail: str
    errors: list[FieldError] | None = None


class Health(BaseModel):
    """The API's answer if it works."""

    status: Literal["ok"]


# The errors that API Gateway answers by itself, without calling the function: infra/api.py.
_BAD_REQUEST: Final = Problem(HTTPStatus.BAD_REQUEST, "bad-request", "The request can't be handled.")
_FORBIDDEN: Final = Problem(HTTPStatus.FORBIDDEN, "forbidden", "Send a valid key in x-api-key.")
_TOO_MANY: Final = Problem(
    HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", "Slow down, then repeat.", headers={"Retry-After": "1"}
)
# The function has crashed: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
_CRASHED: Final = Problem(
    HTTPStatus.BAD_GATEWAY, "internal-error", "Something went wrong.", title="Internal Server Error"
)
# API Gateway could not reach the function, or gave up waiting for it:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
_UNREACHED: Final = replace(
    problems.unavailable(),
    status=HTTPStatus.GATEWAY_TIMEOUT,
    detail="The request can't be handled now. Repeat it, with the same Idempotency-Key, after a while.",
    title="Service Unavailable",
)
_ANYWHERE: Final = (
    _FORBIDDEN, _TOO_MANY, problems.internal_error(), _CRASHED, problems.unavailable(), _UNREACHED,
)  # fmt: skip
_OF_A_POST: Final = (
    problems.not_json(),
    problems.not_utf_8(),
    _BAD_REQUEST,
    problems.content_too_large(MAX_BODY_BYTES),
    problems.unsupported_media_type(),
    problems.invalid(errors=[{"pointer": "#/topic", "detail": f"Input should be {topics()}"}]),
    problems.idempotency_key_reused(),
)
_OF_A_GET: Final = (_BAD_REQUEST, problems.not_found("assistance request"))

_CALL: Final[Json] = {
    "topic": next(iter(routes())),
    "description": "A customer wants a quote for 40 seats.",
    "customer": {"name": "Anna Keller", "email": "anna@example.com", "phone": "+41 44 668 18 00"},
    "conversation_url": "https://chat.example.com/conversations/42",
    "reference": "conversation-42",
    "details": {"Plan": "Pro", "Seats": 40, "Trial": True},
}
_REQUEST: Final = AssistanceRequest(
    id=_ID, topic=_CALL["topic"], description=_CALL["description"], created_at=_NOW, reference=_CALL["reference"]
)
_ACCEPTED: Final = _REQUEST.summary(Status.ACCEPTED)
_SUMMARY: Final = _REQUEST.summary_with_reference(Status.DELIVERED)
_TAKEN: Final[Json] = {"at": _NOW, "by": "Anna", "via": Channel.SLACK}
_DELIVERED: Final[Json] = {
    **_SUMMARY,
    "published_at": _NOW,
    "taken": _TAKEN,
    "deliveries": [
        {
            "channel": Channel.SLACK,
            "status": Status.DELIVERED,
            "attempts": 1,
            "first_attempt_at": _NOW,
            "last_attempt_at": _NOW,
            "delivered_at": _NOW,
            "timeline": [{"at": _NOW, "outcome": Status.DELIVERED}],
        }
    ],
}


class _Schemas(GenerateJsonSchema):
    """Makes schemas without `null`, since the API leaves out empty members, and without titles, since names suffice."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Json:
        return self.generate_inner(schema["schema"])


def document() -> Json:
    """The OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Assistance requests",
            "version": VERSION,
            "summary": "A bot's way to a human: accepted at once, delivered by Slack, email or Teams.",
        },
        "servers": [
            {
                "url": "https://{api}.execute-api.{region}.amazonaws.com/{stage}",
                "variables": {
                    "api": {"default": "api"},
                    "region": {"default": "us-east-1"},
                    "stage": {"default": "dev"},
                },
            }
        ],
        "security": [{"key": []}],
        "paths": {
            "/assistance-requests": {"post": _accept()},
            "/assistance-requests/{id}": {"get": _show()},
            "/health": {"get": _health()},
        },
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
            "schemas": _schemas(),
        },
    }


def _accept() -> Json:
    headers = {
        "Location": _header("The URL that shows the request, relative to the URL that was called.", required=True),
        "Idempotent-Replayed": _header("'true' if a call with this key was accepted before: nothing new was stored."),
    }
    accepted = _answer("Accepted: it will be delivered, or fail visibly.", "Accepted", _ACCEPTED, headers)
    accepted["links"] = {"show": {"operationId": "show", "parameters": {"id": "$response.body#/id"}}}
    return {
        "operationId": "accept",
        "summary": "Ask for a human's help.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Makes the call safe to repeat: the same key and body are accepted once.",
                "schema": {
                    "type": "string",
                    "pattern": "^[ -~]+$",
                    "minLength": 1,
                    "maxLength": MAX_IDEMPOTENCY_KEY_CHARACTERS,
                },
                "example": "conversation-42",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                _JSON: {
                    "schema": _ref("Call"),
                    "example": _CALL,
                }
            },
        },
        "responses": {"202": accepted, **_problems(_OF_A_POST)},
        "callbacks": {"event": {"{$request.body#/callback_url}": {"post": _call_back()}}},
    }


def _call_back() -> Json:
    """Describe the call that the bot gets as a callback: https://spec.openapis.org/oas/v3.1.1.html#callback-object."""
    signed = {
        "webhook-id": "The same for every attempt to report this event.",
        "webhook-timestamp": "When it was sent, in seconds since 1970.",
        "webhook-signature": "A signature by each key, separated by spaces: https://www.standardwebhooks.com.",
    }
    examples = {
        "delivered": {"type": "assistance_request.delivered", "timestamp": _NOW, "data": _SUMMARY},
        "taken": {"type": "assistance_request.taken", "timestamp": _NOW, "data": _SUMMARY | {"taken": _TAKEN}},
    }
    named = {name: {"value": example} for name, example in examples.items()}
    return {
        "operationId": "event",
        "summary": "The request has its final status, or a human has taken or released it.",
        "security": [],
        "parameters": [{"name": name, "in": "header", **_header(says, required=True)} for name, says in signed.items()],
        "requestBody": {"required": True, "content": {_JSON: {"schema": _ref("Event"), "examples": named}}},
        "responses": {
            "2XX": {"description": "Accepted: the callback is not sent again, except if this answer gets lost."},
            "410": {"description": "Refused for good: the callback is not sent again."},
            "default": {"description": "The callback is sent again. Of `Retry-After`, at most half an hour counts."},
        },
    }


def _show() -> Json:
    identifier = {"type": "string", "format": "uuid"}
    return {
        "operationId": "show",
        "summary": "Show a request's status and deliveries.",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": identifier, "example": _ID}],
        "responses": {"200": _answer("The request.", "Details", _DELIVERED), **_problems(_OF_A_GET)},
    }


def _health() -> Json:
    answer = _answer("The API answers. Says nothing about the channels.", "Health", {"status": "ok"})
    return {
        "operationId": "health",
        "summary": "Whether the API answers.",
        "responses": {"200": answer, **_problems((_BAD_REQUEST,))},
    }


def _answer(description: str, schema: str, example: Json, headers: Json | None = None) -> Json:
    content = {_JSON: {"schema": _ref(schema), "example": example}}
    return {"description": description, **({"headers": headers} if headers else {}), "content": content}


def _problems(own: Sequence[Problem]) -> Json:
    """Describe a method's error answers by status, with an example of each. `own`: errors of this method alone."""
    answers: Json = {}
    for problem in sorted((*own, *_ANYWHERE), key=lambda problem: problem.status):
        title = problem.title or problem.status.phrase
        answer = answers.setdefault(str(problem.status.value), {"description": title, "content": {}})
        if problem.headers:
            answer["headers"] = {name: _header("In seconds.", required=True) for name in problem.headers}
        content = answer["content"].setdefault(CONTENT_TYPE, {"schema": _ref("ProblemDocument"), "examples": {}})
        content["examples"][problem.slug] = {"value": json.loads(str(problem.response().body))}
    return answers


def _header(description: str, *, required: bool = False) -> Json:
    return {"description": description, "required": required, "schema": {"type": "string"}}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> Json:
    _, made = models_json_schema(
        [
            (Call, "validation"),
            *((model, "serialization") for model in (Accepted, Details, Event, ProblemDocument, Health)),
        ],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schemas,
    )
    schemas: Json = made["$defs"]
    for schema in schemas.values():
        for name, member in schema.get("properties", {}).items():
            if name == "at" or name.endswith("_at"):
                member["format"] = "date-time"
    call, delivery = schemas["Call"]["properties"], schemas["Delivery"]
    call["topic"]["enum"] = list(routes())
    call["description"]["pattern"] = _NOT_BLANK
    call["details"]["additionalProperties"]["type"] = ["string", "number", "boolean"]
    del delivery["properties"]["claimed_until"]
    delivery["required"].append("timeline")
    schemas["Attempt"]["properties"]["outcome"]["enum"] = _OUTCOMES
    schemas["ProblemDocument"]["properties"]["type"]["enum"] = sorted(
        {TYPE_PREFIX + problem.slug for problem in (*_OF_A_POST, *_OF_A_GET, *_ANYWHERE)}
    )
    return schemas


def text() -> str:
    """The text of `functions/api/openapi.json`."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
