"""A local server with the part of Slack's Web API that the Slack consumer uses.

`PUT /_control/…/fault` switches a fault on, as `SlackServer.fail` does, and GET returns it. `GET /_control/…/messages`
lists the posted messages, `/ephemeral_messages` the messages that only one user sees. `POST /_control/…/press` with
`{"ts": …, "user": "anna", "value": …, "action_id": …}` clicks a button as a user: see `SlackServer.press`. The path
contains a secret: see `SlackServer.control_url`.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from slack_sdk.signature import SignatureVerifier

from console.origin_checks import HOST, OriginCheckingHandler
from local.http import parsed
from local.slack_workspace import Json, RateLimit, SlackError, Workspace

_RESPONSES: Final = "/actions/"


def signed(body: str, signing_secret: str, at: float | None = None) -> dict[str, str]:
    """The headers with Slack's signature of the body, made at the Unix time `at`, by default now.

    https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    timestamp = str(int(time() if at is None else at))
    signature = SignatureVerifier(signing_secret).generate_signature(timestamp=timestamp, body=body)
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": str(signature),
    }


class _Handler(OriginCheckingHandler, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    presses: ClassVar[list[Callable[[str, str, str | None, str | None], int]]]
    workspace: ClassVar[Workspace]
    control: ClassVar[str]

    def do_GET(self) -> None:
        if self.path == f"{self.control}/messages":
            self._answer(HTTPStatus.OK, self.workspace.messages)
        elif self.path == f"{self.control}/ephemeral_messages":
            self._answer(HTTPStatus.OK, self.workspace.ephemeral_messages)
        elif self.path == f"{self.control}/fault":
            self._answer(HTTPStatus.OK, self.workspace.fault)
        else:
            self.do_POST()

    def do_PUT(self) -> None:
        if self.path != f"{self.control}/fault":
            self._answer(HTTPStatus.NOT_FOUND, {"error": "PUT works on the fault only"})
            return
        try:
            self.workspace.fail(parsed(self._body()))
        except ValueError as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        else:
            self._answer(HTTPStatus.OK, {"ok": True})

    def do_POST(self) -> None:
        if self.path == f"{self.control}/press":
            self._press()
            return
        try:
            arguments = self._arguments()
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        if self.path.startswith(_RESPONSES):
            self._respond(arguments)
        else:
            self._call(arguments)

    def _call(self, arguments: Json) -> None:
        method = urlsplit(self.path).path.rsplit("/", 1)[-1]
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        token = bearer or str(arguments.get("token") or "")
        fault = self.workspace.next_fault(method, token, arguments)
        match fault["kind"]:
            case "error":
                self._answer(HTTPStatus.OK, {"ok": False, "error": fault.get("error", "fatal_error")})
                return
            case "rate_limited":
                self._turn_away(fault.get("retry_after", 1))
                return
            case "status":
                self._send(int(fault.get("status", 503)), "text/html", b"<html>down</html>")
                return
            case "slow":
                self._wait_half(fault)
        try:
            answer = self._slack_answer(method, token, arguments)
        except RateLimit as limit:
            self._turn_away(limit.retry_after)
            return
        if fault["kind"] == "slow":
            self._wait_half(fault)
        if fault["kind"] == "drop":
            self.close_connection = True
        elif fault["kind"] == "garbled":
            # Slack has executed the call, but its answer arrives damaged.
            self._send(HTTPStatus.OK, "application/json; charset=utf-8", str(fault.get("body", "")).encode())
        else:
            self._answer(HTTPStatus.OK, answer)

    def _press(self) -> None:
        """Click a button. The body is parsed as JSON whatever its Content-Type: curl sends another by default."""
        try:
            arguments = parsed(self._body())
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            self._answer(HTTPStatus.BAD_REQUEST, {"error": "the body is not a JSON object"})
            return
        try:
            [press] = self.presses
            button = arguments.get("value"), arguments.get("action_id")
            status = press(str(arguments.get("ts")), str(arguments.get("user")), *button)
        except SlackError as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        else:
            self._answer(HTTPStatus.OK, {"status": status})

    def _respond(self, arguments: Json) -> None:
        try:
            taken = self.workspace.respond(self.path.removeprefix(_RESPONSES), arguments)
        except SlackError as error:
            self._send(HTTPStatus.BAD_REQUEST, "text/plain", str(error).encode())
        else:
            status, text = (HTTPStatus.OK, b"ok") if taken else (HTTPStatus.NOT_FOUND, b"used_url")
            self._send(status, "text/plain", text)

    def _wait_half(self, fault: Json) -> None:
        """Wait for half of the fault's seconds. The server does so before and after it executes a call.

        So a caller that gives up can't know whether Slack has executed the call.
        """
        self.workspace.released.wait(float(fault.get("seconds", 2)) / 2)

    def _turn_away(self, retry_after: int) -> None:
        body = {"ok": False, "error": "ratelimited"}
        self._answer(HTTPStatus.TOO_MANY_REQUESTS, body, {"Retry-After": str(retry_after)})

    def _slack_answer(self, method: str, token: str, arguments: Json) -> Json:
        try:
            return self.workspace.call(method, token, arguments)
        except RateLimit:
            raise
        except SlackError as error:
            return {"ok": False, "error": str(error)}

    def _arguments(self) -> Json:
        query: Json = dict(parse_qsl(urlsplit(self.path).query))
        body = self._body()
        content_type = Message()
        content_type["Content-Type"] = self.headers.get("Content-Type", "")
        if content_type.get_content_type() == "application/json":
            query.update(parsed(body or b"{}"))
            return query
        return query | dict(parse_qsl(body.decode()))

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, "application/json; charset=utf-8", json.dumps(body).encode(), headers)

    def _send(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    # Several hundred calls may arrive at the same time.
    request_queue_size = 1_024
    daemon_threads = True


class SlackServer:
    """The server, which runs in a thread while the context is entered. The stack's `SLACK_API_URL` is its `url`."""

    def __init__(self, *, token: str, channels: Sequence[str]) -> None:
        self.workspace = Workspace(token, channels)
        self._control = f"/_control/{secrets.token_urlsafe()}"
        self.signing_secret = secrets.token_hex(16)
        self.call_app: Callable[[str, Mapping[str, str]], int] | None = None
        """Calls the app when a user clicks a button, with a body and headers, and returns the status of its answer."""
        own = {"workspace": self.workspace, "control": self._control, "presses": [self.press]}
        handler = type("Handler", (_Handler,), own)
        self._server = _Server((HOST, 0), handler)
        # 0.01: the seconds between two checks whether to stop. Hundreds of tests wait for it.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def origin(self) -> str:
        """The server's URL without a path: scheme, host and port."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The URL below which the methods of the Web API are."""
        return f"{self.origin}/api/"

    @property
    def control_url(self) -> str:
        """The URL for switching faults on and reading messages. It contains the secret that permits this."""
        return f"{self.origin}{self._control}"

    @property
    def messages(self) -> list[Json]:
        """All posted messages, in order."""
        return self.workspace.messages

    def press(self, ts: str, user: str, value: str | None = None, action_id: str | None = None) -> int:
        """Click the first button of the message `ts`, or the one with that value, and call the app.

        Returns the status of the app's answer. `action_id`: the id of the button that this user sees, if the user's
        screen still shows an earlier form of the message. Raises `SlackError`.
        """
        if self.call_app is None:
            raise SlackError("no_interactivity_url")
        payload = self.workspace.press(ts, value, user, f"{self.origin}{_RESPONSES}", action_id)
        body = urlencode({"payload": json.dumps(payload)})
        return self.call_app(body, signed(body, self.signing_secret))

    def fail(self, kind: str, **details: Any) -> None:  # noqa: ANN401
        """Switch on the fault `kind`, one of `slack_workspace.FAULTS`. `details`: for example `times` or `seconds`."""
        self.workspace.fail({"kind": kind, **details})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workspace.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
