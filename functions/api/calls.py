"""Turns an API Gateway event into a valid `Call` and the id of the request that this call creates."""

import binascii
import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Final

import uuid6
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from api import problems
from api.body import Call, read
from api.settings import settings

# The longest description takes 48 KB if each of its characters is escaped as a UTF-16 surrogate pair.
MAX_BODY_BYTES: Final = 64 * 1024
MAX_IDEMPOTENCY_KEY_CHARACTERS: Final = 255
_NAMESPACE: Final = uuid.UUID("6f1c4b1e-53f0-5d2f-9b62-5c9d3f0c7a11")


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A valid call, the id that its request gets, a hash of its payload, and the names of its unknown members."""

    call: Call
    request_id: str
    payload_hash: str
    ignored: tuple[str, ...]


def parse(event: APIGatewayProxyEvent) -> ParsedCall:
    """The call in the event. Raises a `Problem` that says what is wrong with it."""
    types = _values(event, "content-type")
    if {value.split(";")[0].strip().lower() for value in types} != {"application/json"}:
        raise problems.unsupported_media_type()
    # Read the settings outside of any handling of the caller's errors: a missing setting is not the caller's mistake.
    call, ignored = read(_body(event), loopback=settings().callback_loopback)
    # Without optional members, the hash is the same as before these existed, so that a bot can repeat an old call.
    optional = [member for member in (call.callback_url, call.optional_members) if member]
    payload = json.dumps([call.topic, call.description, *optional]).encode()
    return ParsedCall(call, _request_id(event), hashlib.sha256(payload).hexdigest(), ignored)


def _values(event: APIGatewayProxyEvent, name: str) -> set[str]:
    """A header's distinct values, by its name in lower case. Of several, a proxy may use one, and the API another.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    single: dict[str, str] = event.get("headers") or {}
    several: dict[str, list[str]] = event.get("multiValueHeaders") or {}
    found = [*single.items(), *((header, value) for header, values in several.items() for value in values)]
    return {value for header, value in found if header.lower() == name}


def caller(event: APIGatewayProxyEvent) -> str:
    """The id (not the value) of the API key of the call; empty if API Gateway required no key."""
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


def _request_id(event: APIGatewayProxyEvent) -> str:
    keys = _values(event, "idempotency-key")
    if not keys:
        return str(uuid6.uuid7())
    if len(keys) > 1:
        raise problems.invalid(errors=[{"header": "Idempotency-Key", "detail": "must be one"}])
    [key] = keys
    if not (0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        detail = f"must be 1 to {MAX_IDEMPOTENCY_KEY_CHARACTERS} printable ASCII characters"
        raise problems.invalid(errors=[{"header": "Idempotency-Key", "detail": detail}])
    return str(uuid.uuid5(_NAMESPACE, f"{caller(event)}\n{key}"))
