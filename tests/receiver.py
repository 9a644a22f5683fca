"""A bot's server that receives callbacks."""

import socket
import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True)
class Received:
    """A call as the server received it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:  # noqa: ANN401
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """A server that responds to each call with the next of `answers`, and with 204 after the last.

    An answer is a status with headers, or the bytes of a response. For None the receiver sends nothing, and keeps the
    connection open until it stops.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.calls: list[Received] = []
        self.answers: list[tuple[int, dict[str, str]] | bytes | None] = []
        self._stopped = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.calls.append(Received(self.path, headers, body))
                answer = receiver.answers.pop(0) if receiver.answers else (204, {})
                self.close_connection = True
                if answer is None:
                    receiver._stopped.wait()
                elif isinstance(answer, bytes):
                    self.wfile.write(answer)
                else:
                    self.send_response(answer[0])
                    for name, value in answer[1].items():
                        self.send_header(name, value)
                    self.end_headers()

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                # The caller has closed the connection, which some tests expect.
                pass

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                return (tls.wrap_socket(connection, server_side=True) if tls else connection), address

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/bot?conversation=42"

    def clear(self) -> None:
        self.calls.clear()
        self.answers.clear()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
