"""The state of the local Slack: its apps, channels and messages, its rate limit, and its answers.

`chat.postMessage`, `conversations.history` and `auth.test` answer with Slack's own shapes and error codes:
https://docs.slack.dev/reference/methods/chat.postMessage.
"""

import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from html import unescape
from itertools import count
from math import ceil
from time import time
from typing import Any, Final, NamedTuple, TypeAlias

Json: TypeAlias = dict[str, Any]

MAX_BLOCKS: Final = 50
# https://docs.slack.dev/reference/block-kit/blocks/section-block, and header-block. These pages do not say whether
# Slack accepts a text of only white space; this server refuses it.
MAX_SECTION_CHARACTERS: Final = 3_000
MAX_FIELD_CHARACTERS: Final = 2_000
MAX_FIELDS: Final = 10
MAX_HEADER_CHARACTERS: Final = 150
MAX_ACTIONS: Final = 25
MAX_CONTEXT_ELEMENTS: Final = 10
MAX_BUTTON_CHARACTERS: Final = 75
MAX_OF_BUTTON: Final = {"action_id": 255, "url": 3_000, "value": 2_000}
# Slack does not document this limit. Others have measured that Slack accepts texts of 13,297 characters in one block,
# or of 13,172 with a divider. They don't say whether `&amp;` counts as one character or as five; this server counts
# one. https://github.com/slackapi/bolt-js/issues/2509
MAX_CHARACTERS_OF_ALL_BLOCKS: Final = 13_422
CHARACTERS_OF_A_BLOCK: Final = 125
# Slack cuts longer texts without an error: https://docs.slack.dev/reference/methods/chat.postMessage#truncating
MAX_TEXT_CHARACTERS: Final = 40_000
PAGE: Final = 100
TEAM: Final = "T0LOCAL"
NO_FAULT: Final[Json] = {"kind": "none"}
FAULTS: Final = ("none", "error", "rate_limited", "status", "slow", "drop", "garbled")


class SlackError(Exception):
    """Slack answers a call with `{"ok": false, "error": code}`. The exception's text is the code."""


class RateLimit(SlackError):
    """The error for too many posts in a channel. `retry_after`: seconds to wait."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("ratelimited")
        self.retry_after = retry_after


class Bot(NamedTuple):
    """An app's bot, by the ids that Slack gives it."""

    user_id: str
    bot_id: str
    app_id: str


OURS: Final = Bot("U0LOCAL", "B0LOCAL", "A0LOCAL")


MAX_ANSWERS: Final = 5
"""How often an app may use one `response_url`, the URL for its answers to a click.
https://docs.slack.dev/interactivity/handling-user-interaction#message_responses"""


class Workspace:
    """The state: channels, apps, messages, the rate limit, and the fault that is switched on."""

    def __init__(self, token: str, channels: Sequence[str]) -> None:
        self._bots = {token: OURS}
        self.channels = frozenset(channels)
        self.messages: list[Json] = []
        self._seconds_between_posts = 0.0
        self.released = threading.Event()
        self._next_post: dict[str, float] = {}
        self._fault: Json = dict(NO_FAULT)
        self._lock = threading.Lock()
        self._sequence = count(1)
        self._pressed: dict[str, tuple[Json, str, int]] = {}
        self.ephemeral_messages: list[Json] = []
        """Messages that only one user sees: the text, the user, and the `ts` of the message that they answer."""

    def install(self, token: str, bot: Bot) -> None:
        """Accept a further token, whose calls come from this bot: of our app, or of another app in the workspace."""
        self._bots[token] = bot

    def revoke(self, token: str) -> None:
        """Stop accepting the token."""
        del self._bots[token]

    def fail(self, fault: Mapping[str, Any]) -> None:
        """Switch a fault on, for as many calls as its member `times` says, else until another call of this method."""
        if fault.get("kind") not in FAULTS:
            raise ValueError(f"unknown fault: choose 'kind' among {', '.join(FAULTS)}")
        with self._lock:
            self._fault = dict(fault)

    @property
    def fault(self) -> Json:
        """The fault that is switched on, or `NO_FAULT`."""
        with self._lock:
            return dict(self._fault)

    def next_fault(self, method: str, token: str, arguments: Json) -> Json:
        """The fault for this call, or `NO_FAULT`. The fault's member `times` counts only the calls that get the fault.

        Calls without a valid token get none. If the fault has the member `holding`, only calls whose arguments contain
        that text get it; if it has `method`, only calls of that method.
        """
        with self._lock:
            if (
                token not in self._bots
                or self._fault.get("holding", "") not in str(arguments)
                or self._fault.get("method", method) != method
            ):
                return dict(NO_FAULT)
            fault = dict(self._fault)
            if "times" in self._fault:
                self._fault["times"] -= 1
                if self._fault["times"] <= 0:
                    self._fault = dict(NO_FAULT)
            return fault

    def call(self, method: str, token: str | None, arguments: Json) -> Json:
        """Answer a call of a Web API method. Raises `SlackError`."""
        if not token:
            raise SlackError("not_authed")
        if token not in self._bots:
            raise SlackError("invalid_auth")
        bot = self._bots[token]
        if method == "auth.test":
            # The answer for a bot token: https://docs.slack.dev/reference/methods/auth.test
            who = {"user": "assistance", "user_id": bot.user_id, "bot_id": bot.bot_id}
            return {"ok": True, "url": "https://local.slack.com/", "team": "Local", "team_id": TEAM, **who}
        channel = arguments.get("channel")
        if channel not in self.channels:
            raise SlackError("channel_not_found")
        if method == "chat.postMessage":
            return self._post(bot, str(channel), arguments)
        if method == "conversations.history":
            return self._history(str(channel), arguments)
        raise SlackError("unknown_method")

    def _post(self, bot: Bot, channel: str, arguments: Json) -> Json:
        self._keep_the_rate(channel)
        blocks = _decoded(arguments.get("blocks"))
        if not arguments.get("text") and not blocks:
            raise SlackError("no_text")
        check_blocks(blocks or [])
        with self._lock:
            ts = f"{int(time())}.{next(self._sequence):06d}"
            text = arguments.get("text", "")[:MAX_TEXT_CHARACTERS]
            message = {
                "type": "message", "ts": ts, "text": text, "user": bot.user_id, "bot_id": bot.bot_id,
                "app_id": bot.app_id, "team": TEAM, "bot_profile": {"id": bot.bot_id, "app_id": bot.app_id},
            }  # fmt: skip
            if blocks:
                message["blocks"] = blocks
            posted = {**message, "channel": channel, "metadata": _decoded(arguments.get("metadata"))}
            self.messages.append(posted)
        return {"ok": True, "channel": channel, "ts": ts, "message": message}

    def press(self, ts: str, value: str | None, user: str, response_urls: str, action_id: str | None = None) -> Json:
        """The payload that Slack sends when a user clicks a button: the message's first, or the one with `value`.

        A changed message reaches a user's screen later, so `action_id` may be the id of the button that the user still
        sees. `response_urls`: the start of the URL to which the app may answer. Raises `SlackError`.
        https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
        """
        with self._lock:
            message = next((m for m in self.messages if m["ts"] == ts), None)
            found = [each for each in buttons(message or {}) if value in {None, each.get("value")}]
            if message is None or not found:
                raise SlackError("message_not_found")
            token = secrets.token_urlsafe()
            self._pressed[token] = (message, user, 0)
            seen = {"action_id": action_id} if action_id else {}
            who = {"id": f"U{user.upper()}", "username": user, "name": user, "team_id": TEAM}
            return {
                "type": "block_actions", "api_app_id": message["app_id"], "user": who, "trigger_id": token[:8],
                "team": {"id": TEAM, "domain": "local"}, "channel": {"id": message["channel"], "name": "assistance"},
                "container": {"type": "message", "message_ts": ts, "channel_id": message["channel"]},
                "message": {name: part for name, part in message.items() if name not in {"channel", "metadata"}},
                "response_url": f"{response_urls}{token}",
                "actions": [{**found[0], **seen, "block_id": "b", "action_ts": f"{time():.6f}"}],
            }  # fmt: skip

    def respond(self, token: str, body: Json) -> bool:
        """Accept the app's answer to a click. Returns whether its `response_url` was still valid. Raises `SlackError`.

        `token`: the end of the `response_url`. If the answer replaces the message, the message loses its metadata,
        because Slack does not promise to keep the metadata.
        """
        with self._lock:
            message, user, used = self._pressed.get(token, ({}, "", MAX_ANSWERS))
            if used >= MAX_ANSWERS:
                return False
            self._pressed[token] = (message, user, used + 1)
            if body.get("replace_original"):
                check_blocks(body.get("blocks") or [])
                message |= {"text": body.get("text", ""), "blocks": body.get("blocks") or [], "metadata": None}
            else:
                self.ephemeral_messages.append({"ts": message["ts"], "user": user, "text": body.get("text", "")})
            return True

    def limit(self, seconds_between_posts: float) -> None:
        """Limit the rate of posts in each channel from now on; 0 removes the limit. Slack's is about one a second."""
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
        oldest, latest = float(arguments.get("oldest") or 0), float(arguments.get("latest") or "inf")
        cursor = str(arguments.get("cursor") or 0)
        # https://docs.slack.dev/apis/web-api/pagination
        if not cursor.isdecimal():
            raise SlackError("invalid_cursor")
        start = int(cursor)
        with_metadata = str(arguments.get("include_all_metadata", "")).lower() in {"1", "true"}
        with self._lock:
            here = [message for message in reversed(self.messages) if message["channel"] == channel]
        # https://docs.slack.dev/reference/methods/conversations.history: without `inclusive`, both times are excluded.
        found = [message for message in here if oldest < float(message["ts"]) < latest]
        hidden = {"channel"} if with_metadata else {"channel", "metadata"}
        page = [{k: v for k, v in m.items() if k not in hidden} for m in found[start : start + limit]]
        more = start + limit < len(found)
        answer: Json = {"ok": True, "messages": page, "has_more": more}
        if more:
            answer["response_metadata"] = {"next_cursor": str(start + limit)}
        return answer


def buttons(message: Mapping[str, Any]) -> Iterator[Json]:
    """The buttons of a message that call the app when a user clicks them."""
    for block in message.get("blocks", ()):
        for element in (block.get("accessory"), *block.get("elements", ())):
            if isinstance(element, dict) and element.get("type") == "button" and "value" in element:
                yield element


def _decoded(value: Any) -> Any:  # noqa: ANN401
    return json.loads(value) if isinstance(value, str) else value


def check_blocks(blocks: Sequence[Json]) -> None:
    """Raise `SlackError` if Slack would refuse the blocks: https://docs.slack.dev/reference/block-kit/blocks."""
    if len(blocks) > MAX_BLOCKS or not all(map(_is_valid, blocks)):
        raise SlackError("invalid_blocks")
    if len(blocks) * CHARACTERS_OF_A_BLOCK + sum(map(len, _texts(blocks))) > MAX_CHARACTERS_OF_ALL_BLOCKS:
        raise SlackError("msg_blocks_too_long")


def _texts(part: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            yield unescape(part["text"])
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _texts(each)


def _is_valid(block: Json) -> bool:
    match block:
        case {"type": "divider"}:
            return True
        case {"type": "header", "text": {"type": "plain_text"} as text}:
            return _fits(text, MAX_HEADER_CHARACTERS)
        case {"type": "section"}:
            texts, fields = ([block["text"]] if "text" in block else []), block.get("fields", [])
            return (
                bool(texts or fields)
                and all(_fits(text, MAX_SECTION_CHARACTERS) for text in texts)
                and len(fields) <= MAX_FIELDS
                and ("fields" not in block or bool(fields))
                and all(_fits(text, MAX_FIELD_CHARACTERS) for text in fields)
                and ("accessory" not in block or _is_button(block["accessory"]))
            )
        case {"type": "actions", "elements": elements}:
            return 0 < len(elements) <= MAX_ACTIONS and all(map(_is_button, elements))
        case {"type": "context", "elements": elements}:
            return 0 < len(elements) <= MAX_CONTEXT_ELEMENTS and all(
                _fits(text, MAX_SECTION_CHARACTERS) for text in elements
            )
    return False


def _fits(text: Json, limit: int) -> bool:
    return text.get("type") in {"plain_text", "mrkdwn"} and len(text["text"].strip()) > 0 and len(text["text"]) <= limit


def _is_button(element: Json) -> bool:
    """Whether the element is a valid button: https://docs.slack.dev/reference/block-kit/block-elements/button-element."""
    return (
        element.get("type") == "button"
        and element["text"]["type"] == "plain_text"
        and _fits(element["text"], MAX_BUTTON_CHARACTERS)
        and all(0 < len(element.get(name, "x")) <= limit for name, limit in MAX_OF_BUTTON.items())
    )
