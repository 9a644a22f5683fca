"""Delivers requests to a Slack channel: each in a message of its own, or several in one when there are many."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from slack_sdk import WebClient

from assistance.consumer import consumer
from assistance.errors import DeliveryError, PermanentFailure, RefusedTogether, TransientFailure
from assistance.models import Outgoing
from assistance.observability import logger
from assistance.routing import Channel
from assistance.secret import secrets
from assistance.together import Together
from slack_consumer.failures import FOR_WHAT_IT_HOLDS
from slack_consumer.message import compose, digests, payload, payloads
from slack_consumer.settings import settings
from slack_consumer.slack import call

PAGE = 200


def posted(outgoing: Sequence[Outgoing]) -> dict[Outgoing, str]:
    """The `ts` of the message that an earlier attempt posted, of each request for which one did.

    https://docs.slack.dev/reference/methods/conversations.history; it takes a channel's id, not its name, and the
    history scope. Without them nothing can be looked up, and the requests are sent again. When Slack limits the rate,
    the look-up, and so the attempt, is put off.
    """
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
        except TransientFailure as error:
            # The look-up itself posts nothing.
            raise type(error)(error.code, retry_after=error.retry_after) from error
        for message in _messages(page):
            told = payloads(message.get("metadata") or {})
            found |= {one: str(message["ts"]) for one in outgoing if payload(one) in told}
        cursor = (page.get("response_metadata") or {}).get("next_cursor")
        if not cursor or len(found) == len(outgoing):
            return found


def _messages(page: dict[str, Any]) -> list[dict[str, Any]]:
    messages = page.get("messages")
    if not isinstance(messages, list):
        raise TransientFailure("unexpected_answer")
    return [message for message in messages if isinstance(message, dict)]


def post(outgoing: Sequence[Outgoing]) -> str:
    """Post the requests in one message. Returns its `ts`."""
    try:
        answer = call(partial(WebClient.chat_postMessage, channel=settings().slack_channel, **compose(outgoing)))
    except PermanentFailure as error:
        if len(outgoing) > 1 and error.code in FOR_WHAT_IT_HOLDS:
            raise RefusedTogether(error.code) from error
        raise
    if not isinstance(answer.get("ts"), str):
        raise TransientFailure("unexpected_answer", in_doubt=True)
    return str(answer["ts"])


def send(outgoing: Sequence[Outgoing]) -> dict[Outgoing, str | DeliveryError]:
    """Post the requests in one message, but for those that earlier attempts turn out to have posted."""
    found = posted(outgoing) if outgoing[0].in_doubt else {}
    missing = [one for one in outgoing if one not in found]
    if not missing:
        return {**found}
    try:
        outcome: str | DeliveryError = post(missing)
    except DeliveryError as error:
        outcome = error
    return {**found, **dict.fromkeys(missing, outcome)}


lambda_handler = consumer(Channel.SLACK, Together(divide=digests, send=send), prepare=secrets)
