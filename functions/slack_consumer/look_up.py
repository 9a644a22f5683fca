"""What earlier attempts have posted, as the channel's history shows it: for attempts that may have."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from slack_sdk import WebClient

from assistance.errors import PermanentFailure, TransientFailure
from assistance.models import Outgoing
from assistance.observability import logger
from slack_consumer.message import payload, payloads
from slack_consumer.settings import settings
from slack_consumer.slack import call, ours

PAGE: Final = 200


def posted(outgoing: Sequence[Outgoing]) -> dict[Outgoing, str]:
    """The `ts` of the message that an earlier attempt posted, of each request for which one did.

    https://docs.slack.dev/reference/methods/conversations.history; it takes a channel's id, not its name, and the
    history scope. Without them nothing can be looked up, and the requests are sent again. When Slack limits the rate,
    or does not say who we are, the look-up, and so the attempt, is put off.
    """
    try:
        return _posted(outgoing)
    except TransientFailure as error:
        # The look-up itself posts nothing.
        raise type(error)(error.code, retry_after=error.retry_after) from error


def _posted(outgoing: Sequence[Outgoing]) -> dict[Outgoing, str]:
    # A minute earlier than the first request: our clock and Slack's may differ.
    oldest = min(datetime.fromisoformat(one.request.created_at) for one in outgoing) - timedelta(minutes=1)
    found: dict[Outgoing, str] = {}
    cursor: str | None = None
    while True:
        try:
            page = call(
                partial(
                    WebClient.conversations_history,
                    channel=settings().slack_channel,
                    oldest=str(oldest.timestamp()),
                    include_all_metadata=True,
                    limit=PAGE,
                    cursor=cursor,
                )
            )
        except PermanentFailure as error:
            ids = [one.request.id for one in outgoing if one not in found]
            logger.warning("can't look up what was posted", request_ids=ids, error_code=error.code)
            return found
        for message in _messages(page):
            found |= _in(message, outgoing)
        cursor = _next_cursor(page)
        if not cursor or len(found) == len(outgoing):
            return found


def _messages(page: dict[str, Any]) -> list[dict[str, Any]]:
    messages = page.get("messages")
    if not isinstance(messages, list):
        raise TransientFailure("unexpected_answer")
    return [message for message in messages if isinstance(message, dict)]


def _in(message: dict[str, Any], outgoing: Sequence[Outgoing]) -> dict[Outgoing, str]:
    """The requests that this message has posted. Only our own app's word counts: anybody in the channel may post."""
    told = payloads(message)
    named = [one for one in outgoing if payload(one) in told]
    if not named:
        return {}
    if not ours(message):
        logger.warning("another app's message names requests of ours", request_ids=[one.request.id for one in named])
        return {}
    if not isinstance(message.get("ts"), str) or not message["ts"]:
        raise TransientFailure("unexpected_answer")
    return dict.fromkeys(named, message["ts"])


def _next_cursor(page: dict[str, Any]) -> str | None:
    """https://docs.slack.dev/apis/web-api/pagination."""
    match page.get("response_metadata"):
        case None | {"next_cursor": None}:
            return None
        case {"next_cursor": str(cursor)}:
            return cursor
        case dict() as metadata if "next_cursor" not in metadata:
            return None
    raise TransientFailure("unexpected_answer")
