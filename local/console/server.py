"""The console's server: the page, its data and its acts, for the developer's own browser.

The gate keeps other web pages out. A token keeps out other users of the machine. The runner prints an address with the
token in its fragment, which browsers send to no server; the page sends the token in a header. The token is no cookie,
because browsers would send a cookie to every port of this machine: https://www.rfc-editor.org/rfc/rfc6265#section-8.5.
"""

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from assistance.errors import TableUnavailable
from assistance.platform.aws import AWS_ERRORS
from cli.errors import Failure
from local import http
from local.console.acts import Acts
from local.console.view import View, deployed
from local.gate import HOST, GatedHandler
from local.stack import Stack

USUAL_PORT: Final = 4567
MAX_BODY_BYTES: Final = 64 * 1024
ADDRESS_WANTED: Final = (
    "open the address that 'make run' has printed, with the token at its end; stack.json has it as console_url"
)
PAGE: Final = Path(__file__).with_name("page")
FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/console.css": ("console.css", "text/css; charset=utf-8"),
    "/console.js": ("console.js", "text/javascript; charset=utf-8"),
}
OUR_PAGE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Its links open beside the console, as in a mail program.
A_MAIL: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
UNANSWERED: Final = (*AWS_ERRORS, Failure, TableUnavailable, http.NoAnswer)


class _Refused(Exception):
    """What was asked for can't be: the status, and why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(GatedHandler, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    token: ClassVar[str]
    view: ClassVar[View]
    acts: ClassVar[dict[str, Callable[[dict[str, Any]], Any]]]

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def _get(self) -> None:
        if self.path in FILES:
            name, content_type = FILES[self.path]
            self._send(HTTPStatus.OK, content_type, (PAGE / name).read_bytes())
        elif self.path == "/api/state":
            self._check_token()
            self._answer(HTTPStatus.OK, self.view.document())
        # A frame can't send the token's header. Nobody can guess a mail's id, which is a random UUID.
        elif (page := self.view.mail(unquote(self.path.removeprefix("/mail/")))) is not None:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", page.encode(), A_MAIL)
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self) -> None:
        self._check_token()
        act = self.acts.get(self.path)
        if act is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such act")
        try:
            result = act(self._body())
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, "that is no argument of this act") from error
        self._answer(HTTPStatus.OK, {"result": result})

    def _check_token(self) -> None:
        given = self.headers.get("X-Console", "")
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN, ADDRESS_WANTED)

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= MAX_BODY_BYTES:
            self.close_connection = True
            raise ValueError(length)
        document = http.parsed(self.rfile.read(length))
        if not isinstance(document, dict):
            raise TypeError(document)
        return document

    def _guarded(self, serve: Callable[[], None]) -> None:
        try:
            serve()
        except _Refused as refused:
            # Its body has not been read.
            self.close_connection = True
            self._answer(refused.status, {"error": str(refused)})
        except UNANSWERED as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": f"the stack does not answer: {error}"})

    def _answer(self, status: HTTPStatus, document: object) -> None:
        self._send(status, "application/json", json.dumps(document).encode())

    def _send(self, status: HTTPStatus, content_type: str, body: bytes, policy: str = OUR_PAGE) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", policy),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that has gone away is nobody's business."""


@contextmanager
def serving(stack: Stack) -> Iterator[str]:
    """Serve the console for this stack while the context is entered. The value is its address, with the token."""
    token = secrets.token_urlsafe()
    acts = Acts(stack, deployed(stack))
    handler = type(
        "Handler",
        (_Handler,),
        {
            "token": token,
            "view": View(stack, acts),
            "acts": {
                "/api/send": lambda body: acts.send(
                    body["topic"], body["description"], body.get("key"), body.get("said", {})
                ),
                "/api/press": lambda body: acts.press(body["user"], body["ts"], body["value"]),
                "/api/fault": lambda body: acts.break_(body["channel"], body["kind"]),
                "/api/producer": lambda body: acts.run_producer(on=bool(body["on"])),
                "/api/reconciler": lambda body: acts.run_reconciler(on=bool(body["on"])),
                "/api/reconcile": lambda _: acts.reconcile(),
                "/api/kill": lambda body: acts.kill(body["function"]),
                "/api/redrive": lambda body: acts.redrive(body.get("ids")),
            },
        },
    )
    server = _listening(handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/#token={token}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listening(handler: type[BaseHTTPRequestHandler]) -> _Server:
    try:
        return _Server((HOST, USUAL_PORT), handler)
    except OSError:
        return _Server((HOST, 0), handler)
