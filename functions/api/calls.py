"""Turns an API Gateway event into the request that a bot's call creates."""

import binascii
import hashlib
import json
import uuid
from typing import Final

import uuid6
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from api import problems
from api.body import read
from api.settings import Settings
from assistance.models import AssistanceRequest
from assistance.platform.clock import timestamp, utc_now
from assistance.platform.http_event import headers_of

# The longest description takes 48 KB if each of its characters is escaped as a UTF-16 surrogate pair.
MAX_BODY_BYTES: Final = 64 * 1024
MAX_IDEMPOTENCY_KEY_CHARACTERS: Final = 255
_NAMESPACE: Final = uuid.UUID("6f1c4b1e-53f0-5d2f-9b62-5c9d3f0c7a11")


def parse(event: APIGatewayProxyEvent) -> tuple[AssistanceRequest, str, tuple[str, ...]]:
    """The request that the call creates, a hash of the call's payload, and the names of its unknown members.

    Raises a `Problem` that says what is wrong with the call.
    """
    headers = headers_of(event)
    if {value.split(";")[0].strip().lower() for value in headers.get("content-type", ())} != {"application/json"}:
        raise problems.unsupported_media_type()
    # Read the settings outside of any handling of the caller's errors: a missing setting is not the caller's mistake.
    call, ignored = read(_body(event), loopback=Settings.read().callback_loopback)
    shown = call.optional_members
    # Without optional members, the hash is the same as before these existed, so that a bot can repeat an old call.
    optional = [member for member in (call.callback_url, shown) if member]
    payload = json.dumps([call.topic, call.description, *optional]).encode()
    request = AssistanceRequest(
        id=_request_id(caller(event), headers.get("idempotency-key", set())),
        topic=call.topic,
        description=call.description,
        created_at=timestamp(utc_now()),
        callback_url=call.callback_url,
        **shown,
    )
    return request, hashlib.sha256(payload).hexdigest(), ignored


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


def _request_id(caller_id: str, keys: set[str]) -> str:
    if not keys:
        return str(uuid6.uuid7())
    if len(keys) > 1:
        raise problems.invalid(errors=[{"header": "Idempotency-Key", "detail": "must be one"}])
    [key] = keys
    if not (0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        detail = f"must be 1 to {MAX_IDEMPOTENCY_KEY_CHARACTERS} printable ASCII characters"
        raise problems.invalid(errors=[{"header": "Idempotency-Key", "detail": detail}])
    return str(uuid.uuid5(_NAMESPACE, f"{caller_id}\n{key}"))
