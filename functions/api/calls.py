"""A bot's HTTP call, checked: from an API Gateway event to a valid `Call` and the id of the request it makes."""

import binascii
import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Final

import uuid6
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent
from pydantic import ValidationError

from api import problems
from api.settings import settings
from assistance.callback_url import LOOPBACK
from assistance.models import Call
from assistance.text import is_blank

MAX_BODY_BYTES: Final = 32 * 1024
MAX_IDEMPOTENCY_KEY_CHARACTERS: Final = 255
_NAMESPACE: Final = uuid.UUID("6f1c4b1e-53f0-5d2f-9b62-5c9d3f0c7a11")


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A valid call, the id that its request gets, and the hash by which a replay is told from a reused key."""

    call: Call
    request_id: str
    payload_hash: str


def parse(event: APIGatewayProxyEvent) -> ParsedCall:
    """The call in the event. Raises a `Problem` that says what is wrong with it."""
    types = _values(event, "content-type")
    if {value.split(";")[0].strip().lower() for value in types} != {"application/json"}:
        raise problems.unsupported_media_type()
    call = _call(_body(event))
    # Without a callback as before there was one: what was accepted then may be repeated now.
    callback = [call.callback_url] if call.callback_url else []
    payload = json.dumps([call.topic, call.description, *callback]).encode()
    return ParsedCall(call, _request_id(event), hashlib.sha256(payload).hexdigest())


def _values(event: APIGatewayProxyEvent, name: str) -> set[str]:
    """The distinct values of a header, from both forms in which API Gateway passes headers.

    The caller must reject several values: a proxy may use the first, and API Gateway's `headers` holds the last.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    single: dict[str, str] = event.get("headers") or {}
    several: dict[str, list[str]] = event.get("multiValueHeaders") or {}
    found = [*single.items(), *((header, value) for header, values in several.items() for value in values)]
    return {value for header, value in found if header.lower() == name}


def caller(event: APIGatewayProxyEvent) -> str:
    """The id (not the value) of the call's API key; empty if API Gateway required no key."""
    return event.request_context.identity.api_key_id or ""


def _body(event: APIGatewayProxyEvent) -> bytes:
    text = event.get("body") or ""
    try:
        body = binascii.a2b_base64(text, strict_mode=True) if event.is_base64_encoded else text.encode()
    except ValueError as error:
        raise problems.not_json() from error
    if len(body) > MAX_BODY_BYTES:
        raise problems.content_too_large(MAX_BODY_BYTES)
    return body


def _call(body: bytes) -> Call:
    # Ahead of the `try`: a setting that is missing is no mistake of the caller's.
    context = {LOOPBACK: settings().callback_loopback}
    try:
        call = Call.model_validate_json(body, context=context)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        if any(detail["type"] == "json_invalid" for detail in details):
            raise problems.not_json() from None
        # `from None`: the chain would carry the input into a traceback.
        raise problems.invalid(
            [
                {"pointer": _pointer(detail["loc"]), "detail": detail["msg"].removeprefix("Value error, ")}
                for detail in details
            ]
        ) from None
    if repeated := _repeated(body):
        raise problems.invalid([{"pointer": f"#/{name}", "detail": "must be there once"} for name in repeated])
    if is_blank(call.description):
        raise problems.invalid([{"pointer": "#/description", "detail": "must hold a visible character"}])
    return call


def _repeated(body: bytes) -> list[str]:
    """The call's members that occur twice: one parser would take the first, another the last.

    https://www.rfc-editor.org/rfc/rfc8259#section-4. pydantic also accepts `NaN`, which is not JSON (section 6).
    """
    try:
        members = json.loads(body, object_pairs_hook=list, parse_constant=_no_json, parse_int=str, parse_float=str)
    except ValueError:
        raise problems.not_json() from None
    names = [name for name, _ in members]
    return [name for name in Call.model_fields if names.count(name) > 1]


def _no_json(_: str) -> None:
    raise ValueError


def _pointer(location: tuple[int | str, ...]) -> str:
    """A JSON Pointer as a URI fragment, as in RFC 9457's own example."""
    return "#" + "".join(f"/{part}" for part in location)


def _request_id(event: APIGatewayProxyEvent) -> str:
    keys = _values(event, "idempotency-key")
    if not keys:
        return str(uuid6.uuid7())
    if len(keys) > 1:
        raise problems.invalid([{"header": "Idempotency-Key", "detail": "must be one"}])
    [key] = keys
    if not (0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        detail = f"must be 1 to {MAX_IDEMPOTENCY_KEY_CHARACTERS} printable ASCII characters"
        raise problems.invalid([{"header": "Idempotency-Key", "detail": detail}])
    return str(uuid.uuid5(_NAMESPACE, f"{caller(event)}\n{key}"))
