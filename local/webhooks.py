"""A server on this machine for channels whose secret is the address that they post to. It keeps every post.

There is one address for each of them: `http://127.0.0.1:…/<channel>`.
"""

import json
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Webhooks:
    """The server. `received` holds the posts, with the channel that each came by."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    received.append((self.path.strip("/?"), json.loads(body)))
                except ValueError:
                    self.send_error(HTTPStatus.BAD_REQUEST)
                    return
                self.send_response(HTTPStatus.ACCEPTED)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def address(self, channel: str) -> str:
        """Where that channel is to post."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{channel}"

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
