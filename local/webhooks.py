"""A server on this machine for channels whose secret is the address that they post to. It keeps every post.

Each has its own address, as hard to guess as a real one: `http://127.0.0.1:…/<secret>/<channel>`.
"""

import json
import secrets
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from local.gate import HOST, GatedHandler
from local.http import parsed


class Webhooks:
    """The server. `received` holds the posts, with the channel that each came by."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self._secret = secrets.token_urlsafe()
        received, start = self.received, f"/{self._secret}/"

        class Handler(GatedHandler, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if not self.path.startswith(start):
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    received.append((self.path.removeprefix(start).strip("/?"), parsed(body)))
                except ValueError:
                    self.send_error(HTTPStatus.BAD_REQUEST)
                    return
                self.send_response(HTTPStatus.ACCEPTED)
                self.end_headers()

        self._server = ThreadingHTTPServer((HOST, 0), Handler)

    def address(self, channel: str) -> str:
        """Where that channel is to post."""
        return f"http://{HOST}:{self._server.server_address[1]}/{self._secret}/{channel}"

    def texts(self, holding: str) -> Iterator[tuple[str, list[str]]]:
        """The channel and all that is said in each post which holds that text."""
        for channel, body in list(self.received):
            if holding in json.dumps(body):
                yield channel, list(_said(body))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _said(body: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(body, dict):
        if isinstance(body.get("text"), str):
            yield body["text"]
        for part in body.values():
            yield from _said(part)
    elif isinstance(body, list):
        for part in body:
            yield from _said(part)
