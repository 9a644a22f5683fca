"""Delivers requests to a Slack channel: each in a message of its own, or several in one when there are many."""

import logging
import socket
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from http.client import HTTPException
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from assistance.consumer import consumer
from assistance.errors import DeliveryError, PermanentFailure, RefusedTogether, TransientFailure
from assistance.models import Outgoing
from assistance.observability import logger
from assistance.routing import Channel
from assistance.secret import secret, secrets
from assistance.together import Together
from slack_consumer import secret as tokens
from slack_consumer.failures import AUTHENTICATION, FOR_WHAT_IT_HOLDS, classify, code_of
from slack_consumer.message import compose, digests, payload, payloads
from slack_consumer.settings import settings

TIMEOUT_SECONDS = 8
PAGE = 200

# The SDK logs the bodies that it can't parse; what is ours to log, we log.
_silent = logging.getLogger("slack_sdk.silent")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def client(token: str) -> WebClient:
    """A client that tries once: the SDK's own retry after a lost connection could post twice."""
    return WebClient(
        token=token, base_url=settings().slack_api_url, timeout=TIMEOUT_SECONDS, retry_handlers=[], logger=_silent
    )


def token(*, fresh: bool = False) -> str:
    """The bot token, cached for five minutes unless a fresh one is wanted."""
    arn = settings().slack_token_secret
    return secret(arn, tokens.read, unavailable="slack_token_unavailable", fresh=fresh)


def call(method: Callable[[WebClient], SlackResponse]) -> dict[str, Any]:
    """Call a method of Slack's, again if the cached token has been replaced. Raises a `DeliveryError`."""
    bot_token = token()
    try:
        return _call(method, bot_token)
    except SlackApiError as error:
        replaced = code_of(error) in AUTHENTICATION and token(fresh=True) != bot_token
        if not replaced:
            raise classify(error) from None
    try:
        return _call(method, token())
    except SlackApiError as error:
        raise classify(error) from None


def _call(method: Callable[[WebClient], SlackResponse], bot_token: str) -> dict[str, Any]:
    try:
        data = method(client(bot_token)).data
    except TimeoutError as error:
        raise TransientFailure("timeout", in_doubt=True) from error
    except (OSError, HTTPException) as error:
        raise TransientFailure("connection_error", in_doubt=not _never_reached(error)) from error
    except AttributeError as error:
        # The SDK takes it for granted that JSON is an object.
        raise TransientFailure("unexpected_answer", in_doubt=True) from error
    if not isinstance(data, dict):
        raise TransientFailure("unexpected_answer", in_doubt=True)
    return data


def _never_reached(error: Exception) -> bool:
    """Whether there was nobody to take the message. urllib keeps the cause in `reason`."""
    return isinstance(getattr(error, "reason", error), ConnectionRefusedError | socket.gaierror)


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
