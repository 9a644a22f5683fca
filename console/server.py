"""The console's HTTP server: the page, its data, and the actions of its user.

`origin_checks` keeps other web pages out, and a token other users of the machine. The printed address has the token in
its fragment, which browsers send to no server; the page sends the token in a header. The token is no cookie, because
browsers would send a cookie to every port of this machine: https://www.rfc-editor.org/rfc/rfc6265#section-8.5.
"""

import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import asdict, dataclass, is_dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from assistance.errors import TableUnavailable, Unreadable
from assistance.ids import is_request_id
from assistance.platform.aws import AWS_ERRORS
from cli.errors import Failure, explained
from console.actions import Action
from console.origin_checks import HOST, OriginCheckingHandler

DEFAULT_PORT: Final = 4567
MAX_BODY_BYTES: Final = 64 * 1024
FOLDER: Final = Path(__file__).with_name("page")
TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES: Final = {f"/{path.name}": path for path in FOLDER.iterdir() if path.suffix in TYPES}
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A mail's links may open in a new tab, as in a mail program.
MAIL_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)


def no_mail(_: str) -> str | None:
    """Return None instead of a mail's HTML, because only the local stack keeps the mails that it sends."""
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """The content of the server: the stage, its current state, a request with its history, and actions by name.

    `confirm`: the stack's name, which each action must repeat in its member `confirm`, so that nobody acts on the wrong
    stage; or None. `start`: the command that printed the page's URL.
    """

    stage: Mapping[str, Any]
    state: Callable[[Mapping[str, str]], Mapping[str, Any]]
    request: Callable[[str], Mapping[str, Any] | None]
    acts: Mapping[str, Action]
    mail: Callable[[str], str | None] = no_mail
    confirm: str | None = None
    start: str = "make run"


class _Refused(Exception):
    """The server refuses a call, and answers with the HTTP status `status`. The exception's text says why."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(OriginCheckingHandler, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    token: ClassVar[str]
    site: ClassVar[Site]

    def do_GET(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def _get(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path.startswith("/api/"):
            self._check_token()
            self._answer(HTTPStatus.OK, self._read(path.removeprefix("/api/"), dict(parse_qsl(parts.query))))
        elif (file := FILES.get("/index.html" if _is_view(path) else path)) is not None:
            self._send(HTTPStatus.OK, f"{TYPES[file.suffix]}; charset=utf-8", file.read_bytes())
        # A frame can't send the header with the token. The mail's id is a random UUID, which nobody can guess.
        elif (page := self.site.mail(path.removeprefix("/mail/"))) is not None:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", page.encode(), MAIL_POLICY)
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _read(self, name: str, given: Mapping[str, str]) -> Mapping[str, Any]:
        if name == "stage":
            return self.site.stage
        if name == "state":
            try:
                return self.site.state(given)
            except ValueError as error:
                raise _Refused(HTTPStatus.BAD_REQUEST, "'before' is invalid") from error
        request_id = name.removeprefix("requests/")
        if not is_request_id(request_id):
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        gone = {"missing": "This stage has no such request. It may have been forgotten: look at the id and the stage."}
        return self.site.request(request_id) or gone

    def _post(self) -> None:
        self._check_token()
        act = self.site.acts.get(self.path.removeprefix("/api/"))
        if act is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such action")
        try:
            body = self._body()
            if self.site.confirm is not None and body.get("confirm") != self.site.confirm:
                raise _Refused(HTTPStatus.BAD_REQUEST, f"'confirm' must be the stack's name, {self.site.confirm}")
            result = act(body)
        except KeyError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"{error} is missing or unknown") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, "the body is invalid for this action") from error
        except Failure as error:
            raise _Refused(HTTPStatus.CONFLICT, str(error)) from error
        self._answer(HTTPStatus.OK, {"result": result})

    def _check_token(self) -> None:
        given = self.headers.get("X-Console", "")
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            wanted = f"open the address that '{self.site.start}' has printed, with the token at its end"
            more = "; stack.json has it as console_url" if self.site.start == "make run" else ""
            raise _Refused(HTTPStatus.FORBIDDEN, wanted + more)

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= MAX_BODY_BYTES:
            self.close_connection = True
            raise ValueError(length)
        document = json.loads(self.rfile.read(length))
        if not isinstance(document, dict):
            raise TypeError(document)
        return document

    def _guarded(self, serve: Callable[[], None]) -> None:
        try:
            serve()
        except _Refused as refused:
            # The refused call's body may be unread, and must not be parsed as another call.
            self.close_connection = True
            self._answer(refused.status, {"error": str(refused)})
        except AWS_ERRORS as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": explained(error)})
        except (Failure, TableUnavailable, Unreadable, ConnectionError) as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": f"the stage does not answer: {error}"})

    def _answer(self, status: HTTPStatus, document: object) -> None:
        self._send(status, "application/json", json.dumps(document, default=_plain).encode())

    def _send(self, status: HTTPStatus, content_type: str, body: bytes, policy: str = PAGE_POLICY) -> None:
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


def _is_view(path: str) -> bool:
    """Whether this URL path is a view of the page: the list, or one request."""
    return path == "/" or is_request_id(path.removeprefix("/requests/"))


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(value)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        # A new thread starts without the context, in which `cli.hints` remembers the options that name the stack.
        self._context = copy_context()

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a connection in a thread of its own, in a copy of the context in which the server was started."""
        self._context.copy().run(super().process_request_thread, request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Print an unforeseen error, but nothing if a browser closes its connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(site: Site, port: int = DEFAULT_PORT) -> Iterator[str]:
    """Serve the site while the context is entered. Yields its URL, with the token."""
    token = secrets.token_urlsafe()
    server = _listening(type("Handler", (_Handler,), {"token": token, "site": site}), port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/#token={token}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listening(handler: type[BaseHTTPRequestHandler], port: int) -> _Server:
    try:
        return _Server((HOST, port), handler)
    except OSError:
        return _Server((HOST, 0), handler)
