"""A server that speaks Slack's Web API, as far as the Slack consumer uses it.

`chat.postMessage`, `conversations.history` and `auth.test` answer with Slack's own shapes and error codes:
https://docs.slack.dev/reference/methods/chat.postMessage. Faults are switched on from Python or by
`PUT /_control/…/fault`, and read by GET; what was posted is at `GET /_control/…/messages`. The path holds a secret:
`SlackServer.control_url`.
"""

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from email.message import Message
from html import unescape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from math import ceil
from time import time
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from local.gate import HOST, GatedHandler
from local.http import parsed

Json: TypeAlias = dict[str, Any]

MAX_BLOCKS: Final = 50
# https://docs.slack.dev/reference/block-kit/blocks/section-block, and header-block
MAX_SECTION_CHARACTERS: Final = 3_000
MAX_FIELD_CHARACTERS: Final = 2_000
MAX_FIELDS: Final = 10
MAX_HEADER_CHARACTERS: Final = 150
# Not documented, and nobody has said whether `&amp;` counts as one or as five: here it is one.
# https://github.com/slackapi/bolt-js/issues/2509
MAX_CHARACTERS_OF_ALL_BLOCKS: Final = 13_172
# What Slack cuts off without a word: https://docs.slack.dev/reference/methods/chat.postMessage#truncating
MAX_TEXT_CHARACTERS: Final = 40_000
PAGE: Final = 100
NO_FAULT: Final[Json] = {"kind": "none"}
FAULTS: Final = ("none", "error", "rate_limited", "status", "slow", "drop", "garbled")


class SlackError(Exception):
    """An answer of `{"ok": false, "error": code}`."""


class RateLimit(SlackError):
    """Too many posts in that channel."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("ratelimited")
        self.retry_after = retry_after


class Workspace:
    """The state: channels, messages, the limit of the rate, and the fault that is switched on."""

    def __init__(self, token: str, channels: Sequence[str]) -> None:
        self.token = token
        self.control = f"/_control/{secrets.token_urlsafe()}"
        self.channels = frozenset(channels)
        self.messages: list[Json] = []
        self._seconds_between_posts = 0.0
        self.released = threading.Event()
        self._next_post: dict[str, float] = {}
        self._fault: Json = dict(NO_FAULT)
        self._lock = threading.Lock()
        self._sequence = count(1)

    def fail(self, fault: Mapping[str, Any]) -> None:
        """Switch a fault on, for `times` calls or until it is switched off."""
        if fault.get("kind") not in FAULTS:
            raise ValueError(f"unknown fault: choose 'kind' among {', '.join(FAULTS)}")
        with self._lock:
            self._fault = dict(fault)

    @property
    def fault(self) -> Json:
        """The fault that is switched on."""
        with self._lock:
            return dict(self._fault)

    def next_fault(self, arguments: Json) -> Json:
        """The fault that this call meets. One with `holding` meets only calls that hold that text."""
        with self._lock:
            if self._fault.get("holding", "") not in str(arguments):
                return dict(NO_FAULT)
            fault = dict(self._fault)
            if "times" in self._fault:
                self._fault["times"] -= 1
                if self._fault["times"] <= 0:
                    self._fault = dict(NO_FAULT)
            return fault

    def call(self, method: str, token: str | None, arguments: Json) -> Json:
        """Answer a call of the Web API. Raises `SlackError`."""
        if not token:
            raise SlackError("not_authed")
        if token != self.token:
            raise SlackError("invalid_auth")
        if method == "auth.test":
            return {"ok": True, "team": "Local", "user": "assistance", "bot_id": "B0LOCAL"}
        channel = arguments.get("channel")
        if channel not in self.channels:
            raise SlackError("channel_not_found")
        if method == "chat.postMessage":
            return self._post(str(channel), arguments)
        if method == "conversations.history":
            return self._history(str(channel), arguments)
        raise SlackError("unknown_method")

    def _post(self, channel: str, arguments: Json) -> Json:
        self._keep_the_rate(channel)
        blocks = _decoded(arguments.get("blocks"))
        if not arguments.get("text") and not blocks:
            raise SlackError("no_text")
        _check_blocks(blocks or [])
        with self._lock:
            ts = f"{int(time())}.{next(self._sequence):06d}"
            text = arguments.get("text", "")[:MAX_TEXT_CHARACTERS]
            message = {"type": "message", "ts": ts, "text": text, "bot_id": "B0LOCAL"}
            if blocks:
                message["blocks"] = blocks
            posted = {**message, "channel": channel, "metadata": _decoded(arguments.get("metadata"))}
            self.messages.append(posted)
        return {"ok": True, "channel": channel, "ts": ts, "message": message}

    def limit(self, seconds_between_posts: float) -> None:
        """Limit the rate of posts in each channel, from now on; 0 ends it. Slack's is about one a second."""
        with self._lock:
            self._seconds_between_posts = seconds_between_posts
            self._next_post.clear()

    def _keep_the_rate(self, channel: str) -> None:
        with self._lock:
            now, due = time(), self._next_post.get(channel, 0.0)
            if now < due:
                raise RateLimit(ceil(due - now))
            if self._seconds_between_posts:
                self._next_post[channel] = now + self._seconds_between_posts

    def _history(self, channel: str, arguments: Json) -> Json:
        limit = min(int(arguments.get("limit") or PAGE), 999)
        oldest, cursor = float(arguments.get("oldest") or 0), str(arguments.get("cursor") or 0)
        # https://docs.slack.dev/apis/web-api/pagination
        if not cursor.isdecimal():
            raise SlackError("invalid_cursor")
        start = int(cursor)
        with_metadata = str(arguments.get("include_all_metadata", "")).lower() in {"1", "true"}
        with self._lock:
            found = [m for m in reversed(self.messages) if m["channel"] == channel and float(m["ts"]) > oldest]
        hidden = {"channel"} if with_metadata else {"channel", "metadata"}
        page = [{k: v for k, v in m.items() if k not in hidden} for m in found[start : start + limit]]
        more = start + limit < len(found)
        answer: Json = {"ok": True, "messages": page, "has_more": more}
        if more:
            answer["response_metadata"] = {"next_cursor": str(start + limit)}
        return answer


def _decoded(value: Any) -> Any:  # noqa: ANN401
    return json.loads(value) if isinstance(value, str) else value


def _check_blocks(blocks: Sequence[Json]) -> None:
    if len(blocks) > MAX_BLOCKS:
        raise SlackError("invalid_blocks")
    for block in blocks:
        text, fields = (block.get("text") or {}).get("text", "-"), block.get("fields", [])
        longest = {"section": MAX_SECTION_CHARACTERS, "header": MAX_HEADER_CHARACTERS}.get(str(block.get("type")))
        if longest and not 0 < len(text) <= longest:
            raise SlackError("invalid_blocks")
        if len(fields) > MAX_FIELDS or any(not 0 < len(each["text"]) <= MAX_FIELD_CHARACTERS for each in fields):
            raise SlackError("invalid_blocks")
    if len(unescape(json.dumps(blocks, ensure_ascii=False))) > MAX_CHARACTERS_OF_ALL_BLOCKS:
        raise SlackError("msg_blocks_too_long")


class _Handler(GatedHandler, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    workspace: ClassVar[Workspace]

    def do_GET(self) -> None:
        control = self.workspace.control
        if self.path == f"{control}/messages":
            self._answer(HTTPStatus.OK, self.workspace.messages)
        elif self.path == f"{control}/fault":
            self._answer(HTTPStatus.OK, self.workspace.fault)
        else:
            self.do_POST()

    def do_PUT(self) -> None:
        if self.path != f"{self.workspace.control}/fault":
            self._answer(HTTPStatus.NOT_FOUND, {"error": "there is no such thing to PUT"})
            return
        try:
            self.workspace.fail(parsed(self._body()))
        except ValueError as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        else:
            self._answer(HTTPStatus.OK, {"ok": True})

    def do_POST(self) -> None:
        try:
            arguments = self._arguments()
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        fault = self.workspace.next_fault(arguments)
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
            answer = self._slack_answer(arguments)
        except RateLimit as limit:
            self._turn_away(limit.retry_after)
            return
        if fault["kind"] == "slow":
            self._wait_half(fault)
        if fault["kind"] == "drop":
            self.close_connection = True
        elif fault["kind"] == "garbled":
            # Slack has done what it was asked to, and its answer comes to grief on the way.
            self._send(HTTPStatus.OK, "application/json; charset=utf-8", str(fault.get("body", "")).encode())
        else:
            self._answer(HTTPStatus.OK, answer)

    def _wait_half(self, fault: Json) -> None:
        """On its way here and on its way back: who loses patience can't know whether Slack has done it."""
        self.workspace.released.wait(float(fault.get("seconds", 2)) / 2)

    def _turn_away(self, retry_after: int) -> None:
        body = {"ok": False, "error": "ratelimited"}
        self._answer(HTTPStatus.TOO_MANY_REQUESTS, body, {"Retry-After": str(retry_after)})

    def _slack_answer(self, arguments: Json) -> Json:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        method = urlsplit(self.path).path.rsplit("/", 1)[-1]
        try:
            return self.workspace.call(method, bearer or arguments.get("token"), arguments)
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
    # Several hundred calls may come at once.
    request_queue_size = 1_024
    daemon_threads = True


class SlackServer:
    """The server, running in a thread while the context is entered. `url` is what `SLACK_API_URL` is set to."""

    def __init__(self, *, token: str, channels: Sequence[str]) -> None:
        self.workspace = Workspace(token, channels)
        handler = type("Handler", (_Handler,), {"workspace": self.workspace})
        self._server = _Server((HOST, 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The base of the Web API's methods."""
        return f"{self.origin}/api/"

    @property
    def control_url(self) -> str:
        """Where faults are switched on and messages are read. Whoever knows it may."""
        return f"{self.origin}{self.workspace.control}"

    @property
    def messages(self) -> list[Json]:
        """Everything that was posted, in order."""
        return self.workspace.messages

    def fail(self, kind: str, **details: Any) -> None:  # noqa: ANN401
        """Switch on a fault: see `FAULTS`."""
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
