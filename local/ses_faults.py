"""Injects faults into the emulated SES: while a fault is on, this module answers instead of MiniStack.

`PUT /_local/ses/fault` with `{"kind": …}`, one of `FAULTS`, switches a fault on; GET returns the current one.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from local import http

CONTROL: Final = "/_local/ses/fault"
SLOW_SECONDS: Final = 6  # within the consumer's read time-out

# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html
ANSWERS: Final = {
    "rate_limited": (HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequestsException", "Maximum sending rate exceeded."),
    "failing": (HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "The request has failed."),
    "refusing": (HTTPStatus.BAD_REQUEST, "MessageRejected", "Email address is not verified."),
}
FAULTS: Final = ("none", "slow", *ANSWERS)


def with_faults(application: ASGIFramework) -> ASGIFramework:
    """Wrap the emulator with the faults. They affect only mails that are sent with SES's API v2."""
    fault = "none"

    async def serve(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        nonlocal fault
        call = (scope.get("method"), scope.get("path"))
        if call == ("PUT", CONTROL):
            wanted = await _kind(receive)
            if wanted not in FAULTS:
                known = f"unknown fault: choose 'kind' among {', '.join(FAULTS)}"
                await _answer(send, HTTPStatus.BAD_REQUEST, {"error": known})
                return
            fault = wanted
        if call[1] == CONTROL:
            await _answer(send, HTTPStatus.OK, {"kind": fault})
            return
        if call == ("POST", "/v2/email/outbound-emails"):
            if fault in ANSWERS:
                status, code, message = ANSWERS[fault]
                await _answer(send, status, {"message": message}, code)
                return
            if fault == "slow":
                await asyncio.sleep(SLOW_SECONDS)
        await application(scope, receive, send)

    return serve


async def _kind(receive: ASGIReceiveCallable) -> str | None:
    body, more = b"", True
    while more:
        event: Any = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    try:
        document = http.parsed(body)
    except ValueError:
        return None
    kind = document.get("kind") if isinstance(document, dict) else None
    return kind if isinstance(kind, str) else None


async def _answer(send: ASGISendCallable, status: int, document: dict[str, str], code: str | None = None) -> None:
    # In the REST-JSON protocol, a header has the error code:
    # https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html
    named = [(b"x-amzn-errortype", code.encode())] if code else []
    headers = [(b"content-type", b"application/json"), *named]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode(), "more_body": False})
