"""A local server in place of a custom domain: it forwards only `/take/…` to the deployed API.

The template contains this server's address, so the server starts before the API exists. It does not check links: the
deployed function does.
"""

import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Final, Self

from console.origin_checks import HOST, OriginCheckingHandler
from local import http

START: Final = "/take/"
MAX_BODY: Final = 64 * 1024
_OWN: Final = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})


class _Handler(OriginCheckingHandler, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: ClassVar["list[TakePageProxy]"]

    def admits(self, port: int, hosts: Sequence[str], origins: Sequence[str], sites: Sequence[str]) -> bool:
        """Whether to serve a call: also if a user follows a link from another page, such as a mail in the console.

        The take page sends no referrer, so its form is submitted with the origin `null`:
        https://fetch.spec.whatwg.org/#append-a-request-origin-header.
        """
        if not self.path.startswith(START):
            return super().admits(port, hosts, origins, sites)
        if self.command == "GET" and self.headers.get_all("Sec-Fetch-Mode") == ["navigate"]:
            sites = ()
        elif list(sites) == ["same-origin"] and list(origins) == ["null"]:
            origins = ()
        return super().admits(port, hosts, origins, sites)

    def do_GET(self) -> None:
        self._forward()

    def do_POST(self) -> None:
        self._forward()

    def _forward(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= MAX_BODY:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {}, b"")
            return
        body = self.rfile.read(length)
        [front] = self.front
        if front.api_url is None or not self.path.startswith(START):
            self._answer(HTTPStatus.NOT_FOUND, {}, b"")
            return
        headers = {"Content-Type": self.headers["Content-Type"]} if "Content-Type" in self.headers else {}
        try:
            answer = http.call(self.command, f"{front.api_url}{self.path}", body=body or None, headers=headers)
        except http.NoAnswer:
            self._answer(HTTPStatus.BAD_GATEWAY, {}, b"")
            return
        kept = {name: value for name, value in answer.headers.items() if name not in _OWN}
        self._answer(HTTPStatus(answer.status), kept, answer.body)

    def _answer(self, status: HTTPStatus, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class TakePageProxy:
    """The server, which runs in a thread while the context is entered. `api_url`: the deployed API's URL, or None."""

    def __init__(self) -> None:
        self.api_url: str | None = None
        self._server = _Server((HOST, 0), type("Handler", (_Handler,), {"front": [self]}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Return the server's URL, the part of a link before `/take/`."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
