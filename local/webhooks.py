"""A local server that receives and keeps the posts of channels whose secret is a webhook's URL, such as Teams.

Each channel has its own URL with a random secret: `http://127.0.0.1:…/<secret>/<channel>`. For each channel, a fault of
`FAULTS` can be switched on.
"""

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from types import MappingProxyType
from typing import Any, Final, Self

from console.origin_checks import HOST, OriginCheckingHandler
from local.http import parsed

SLOW_SECONDS: Final = 6  # within the consumer's read time-out
FAULTS: Final[Mapping[str, HTTPStatus]] = MappingProxyType(
    {
        "none": HTTPStatus.ACCEPTED,
        "slow": HTTPStatus.ACCEPTED,
        "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
        "failing": HTTPStatus.SERVICE_UNAVAILABLE,
        "refusing": HTTPStatus.GONE,
    }
)
"""The status with which the server answers while a fault is on. It keeps a post only if the status is ACCEPTED."""

_SHOWN_BY_A_CARD: Final = frozenset({"text", "title", "value"})


@dataclass(frozen=True, slots=True)
class Post:
    """A post that was accepted. `place`: the part of the URL after the channel; `at`: Unix time in seconds."""

    channel: str
    place: str
    body: Any
    at: float


class Webhooks:
    """The server of the webhooks. `received`: the accepted posts. `faults`: the fault that is on, by channel."""

    def __init__(self) -> None:
        self.received: list[Post] = []
        self.faults: dict[str, str] = {}
        self._secret = secrets.token_urlsafe()
        self._released = threading.Event()
        webhooks, start = self, f"/{self._secret}/"

        class Handler(OriginCheckingHandler, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if not self.path.startswith(start):
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = webhooks.receive(self.path.removeprefix(start).strip("/?"), body)
                self.send_response(status)
                if status is HTTPStatus.TOO_MANY_REQUESTS:
                    self.send_header("Retry-After", "5")
                self.end_headers()

        self._server = ThreadingHTTPServer((HOST, 0), Handler)

    def address(self, channel: str) -> str:
        """Return the URL to which that channel's consumer posts."""
        return f"http://{HOST}:{self._server.server_address[1]}/{self._secret}/{channel}"

    def receive(self, address: str, body: bytes) -> HTTPStatus:
        """Keep a post, unless a fault is on that refuses it, and return the status of the answer.

        `address`: the channel, and perhaps a slash and a place.
        """
        channel, _, place = address.partition("/")
        fault = self.faults.get(channel, "none")
        if fault == "slow":
            self._released.wait(SLOW_SECONDS)
        if FAULTS[fault] is HTTPStatus.ACCEPTED:
            self.received.append(Post(channel, place, _json_or_text(body), time()))
        return FAULTS[fault]

    def texts(self, holding: str) -> Iterator[tuple[str, list[str]]]:
        """The channel and all texts of each post that contains the text `holding`."""
        for post in list(self.received):
            if holding in json.dumps(post.body):
                yield post.channel, list(texts_of(post.body))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


def texts_of(body: Any) -> Iterator[str]:  # noqa: ANN401
    """All texts in a post, in order. For an Adaptive Card, only the texts that it shows."""
    found = card(body)
    return _texts(body, None) if found is None else _texts(found, _SHOWN_BY_A_CARD)


def card(body: Any) -> Any:  # noqa: ANN401
    """The Adaptive Card in the JSON that a Teams workflow accepts, or None."""
    match body:
        case {"attachments": [{"content": {"body": [*_], "actions": [*_]} as found}]}:
            return found
    return None


def _texts(part: Any, names: frozenset[str] | None) -> Iterator[str]:  # noqa: ANN401
    """All strings in a JSON document, in order. `names`: only strings that are members with one of these names."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, list):
        for each in part:
            yield from _texts(each, names)
    elif isinstance(part, dict):
        for name, each in part.items():
            if not isinstance(each, str) or names is None or name in names:
                yield from _texts(each, names)


def _json_or_text(body: bytes) -> Any:  # noqa: ANN401
    try:
        return parsed(body)
    except ValueError:
        return body.decode("utf-8", "replace")
