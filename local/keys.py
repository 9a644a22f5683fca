"""Checks that calls to the emulator are signed with this run's root access key, or with a key of a function's role.

MiniStack checks only signatures with roles' keys: it treats a call without a key, or with the key `test`, as one of the
root user. Every user of this machine can connect to MiniStack. So this module checks each call first: the call's
`Authorization` header must contain a signature made with the secret of an access key. AWS also accepts signatures in
query strings and forms; this module refuses them, because no program of this project sends them.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import os
import re
import secrets
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from ministack.core import lambda_runtime
from ministack.core.iam_evaluator import CredentialResolutionError, is_root_access_key, resolve_credential
from ministack.core.router import extract_access_key_id
from ministack.core.sigv4 import decode_header_value, header_signature_failure, parse_header_signature
from ministack.services import lambda_svc

from console import origin_checks

ALGORITHM: Final = "AWS4-HMAC-SHA256 "
DEPLOYED_API: Final = re.compile(r"/restapis/[^/]+/[^/]+/_user_request_(/.*)?", re.DOTALL)
"""The paths of the deployed API, which bots call. The API itself checks the API key."""
UNSIGNED: Final = "Sign the call in its Authorization header, with the credentials that stack.json holds."

_execution_credentials = lambda_runtime.execution_credentials


def require_signature(application: ASGIFramework, port: int) -> ASGIFramework:
    """Wrap the emulator: refuse web pages, and unsigned calls to all but the deployed API. `port`: the emulator's."""

    async def serve(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await application(scope, receive, send)
        elif scope["type"] == "websocket":
            # Nothing that we deploy uses websockets. https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
            await send({"type": "websocket.close", "code": 1008, "reason": None})
        elif not origin_checks.admits(
            port, *(_values(scope, name) for name in (b"host", b"origin", b"sec-fetch-site"))
        ):
            await _refuse(send, origin_checks.REFUSAL)
        elif DEPLOYED_API.fullmatch(scope["path"]):
            await application(scope, receive, send)
        elif (secret := _secret(scope)) is None:
            await _refuse(send, UNSIGNED)
        elif (body := await _body(receive)) is not None:
            if _signed(scope, body, secret):
                await application(scope, _again(body, receive), send)
            else:
                await _refuse(send, UNSIGNED)

    return serve


def make_function_keys_unguessable() -> None:
    """Make the AWS access keys that MiniStack gives to each process of a Lambda function unguessable.

    MiniStack derives these keys from the ARNs of the function and its role. The ARNs are no secrets, because `ps` shows
    the function's name. A random path in the role's ARN changes the derived keys, and nothing else.
    """

    def credentials(config: dict[str, Any]) -> dict[str, str]:
        account, _, name = str(config["Role"]).rpartition("/")
        derived: dict[str, str] = _execution_credentials({**config, "Role": f"{account}/{secrets.token_hex()}/{name}"})
        return derived

    for module in (lambda_runtime, lambda_svc):
        module.execution_credentials = credentials


def _secret(scope: HTTPScope) -> str | None:
    """The secret of the access key that the call names; None if this run has issued no such key."""
    headers = _headers(scope)
    if len(_values(scope, b"authorization")) != 1 or not headers["authorization"].startswith(ALGORITHM):
        return None
    # MiniStack fails on characters that are not ASCII. Without X-Amz-Date it uses `Date`, and fails on some dates.
    if not headers["authorization"].isascii() or not headers.get("x-amz-date"):
        return None
    signature = parse_header_signature(headers)
    # MiniStack later parses the access key again, in another way, and acts for that key: both must be equal.
    if isinstance(signature, tuple) or (key := signature.access_key_id) != extract_access_key_id(headers):
        return None
    if is_root_access_key(key) and key != os.environ["AWS_ACCESS_KEY_ID"]:
        return None
    credential = resolve_credential(key, session_token=headers.get("x-amz-security-token"))
    return None if isinstance(credential, CredentialResolutionError) else str(credential.secret_access_key)


def _signed(scope: HTTPScope, body: bytes, secret: str) -> bool:
    headers = _headers(scope)
    query = parse_qs(scope["query_string"].decode(errors="replace"), keep_blank_values=True)
    path = scope["raw_path"].decode("latin-1")
    signature = parse_header_signature(headers)
    return header_signature_failure(signature, secret, scope["method"], path, query, headers, body) is None


def _headers(scope: HTTPScope) -> dict[str, str]:
    """The headers by name. The values of a repeated header are joined by commas, as AWS joins them before signing."""
    joined: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), decode_header_value(value)
        joined[key] = f"{joined[key]},{text}" if key in joined else text
    return joined


def _values(scope: HTTPScope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


async def _body(receive: ASGIReceiveCallable) -> bytes | None:
    """The whole body; None if the caller disconnects before its end."""
    chunks: list[bytes] = []
    while True:
        event: Any = await receive()
        if event["type"] == "http.disconnect":
            return None
        chunks.append(event.get("body", b""))
        if not event.get("more_body", False):
            return b"".join(chunks)


def _again(body: bytes, receive: ASGIReceiveCallable) -> ASGIReceiveCallable:
    """Return a `receive` that yields the body that was already read, and then the later events."""
    events: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:  # noqa: ANN401
        return events.pop() if events else await receive()

    return receive_again


async def _refuse(send: ASGISendCallable, why: str) -> None:
    """Refuse a call with an answer that botocore understands for every AWS protocol.

    For JSON protocols botocore reads the error code from the header, for the others from the XML:
    https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html, and aws-query-protocol.html
    """
    content = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{why}</Message></Error></ErrorResponse>"
    headers = [(b"content-type", b"text/xml"), (b"x-amzn-errortype", b"AccessDenied")]
    await send({"type": "http.response.start", "status": HTTPStatus.FORBIDDEN.value, "headers": headers})
    await send({"type": "http.response.body", "body": content.encode(), "more_body": False})
