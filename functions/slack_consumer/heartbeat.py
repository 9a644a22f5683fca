"""The heartbeat of Slack checks the token, its scope, and each channel. It posts nothing."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from slack_sdk import WebClient

from assistance.engine.heartbeat import topics
from assistance.errors import PermanentFailure, TransientFailure
from assistance.routing import Channel
from slack_consumer.settings import place
from slack_consumer.web_api import UNAVAILABLE, ask

# Slack reads the history of a channel by its id only: https://docs.slack.dev/reference/methods/conversations.history
_ID: Final = re.compile(r"[CDG][A-Z0-9]{2,}")


def defects() -> Iterator[str]:
    """Yield each defect that prevents Slack from taking messages. Raises a `DeliveryError` without a usable answer."""
    try:
        answer = ask(WebClient.auth_test)
    except TransientFailure as failure:
        if failure.code != UNAVAILABLE:
            raise
        yield failure.code
        return
    headers = {name.lower(): value for name, value in answer.headers.items()}
    scopes = {scope.strip() for scope in headers.get("x-oauth-scopes", "chat:write").split(",")}
    if "chat:write" not in scopes:
        yield "missing_scope: chat:write"
    for channel in dict.fromkeys(map(place, topics(Channel.SLACK))):
        if _ID.fullmatch(channel) and (code := _refusal(channel, anywhere="chat:write.public" in scopes)):
            yield f"{channel}: {code}"


def _refusal(channel: str, *, anywhere: bool) -> str | None:
    """The error code because of which nothing can be posted in that channel. None if posting works.

    None also if the token lacks the history scope, because without it nothing can be checked. `anywhere`: True if the
    bot may also post in channels of which it is no member.
    """
    try:
        ask(partial(WebClient.conversations_history, channel=channel, limit=1))
    except PermanentFailure as failure:
        if failure.code != "missing_scope" and not (anywhere and failure.code == "not_in_channel"):
            return failure.code
    return None
