"""Delivers requests to a Slack channel."""

import logging
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, partial
from http.client import HTTPException
from typing import Any

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from assistance import aws
from assistance.consumer import consumer
from assistance.errors import PermanentFailure, TransientFailure
from assistance.models import Outgoing
from assistance.observability import logger
from assistance.routing import Channel
from slack_consumer.failures import AUTHENTICATION, classify, code_of
from slack_consumer.message import compose, payload
from slack_consumer.settings import settings

TIMEOUT_SECONDS = 8
TOKEN_MAX_AGE_SECONDS = 300
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


@cache
def secrets() -> SecretsProvider:
    """Powertools' cache over Secrets Manager."""
    return SecretsProvider(boto3_client=aws.secrets())


def token(*, fresh: bool = False) -> str:
    """The bot token, cached for five minutes unless a fresh one is wanted."""
    try:
        value = secrets().get(settings().slack_token_secret, max_age=TOKEN_MAX_AGE_SECONDS, force_fetch=fresh)
    except GetParameterError as error:
        logger.error("no Slack token: put one into the secret", secret=settings().slack_token_secret)
        raise TransientFailure("slack_token_unavailable") from error
    return str(value).strip()


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


def posted(outgoing: Outgoing) -> str | None:
    """The `ts` of the message that an earlier attempt posted for this request, if one did.

    https://docs.slack.dev/reference/methods/conversations.history; it takes a channel's id, not its name, and the
    history scope. Without them nothing can be looked up, and the request is sent again. When Slack limits the rate, the
    look-up, and so the attempt, is put off.
    """
    # A minute earlier than the request: our clock and Slack's may differ.
    oldest = datetime.fromisoformat(outgoing.request.created_at) - timedelta(minutes=1)
    wanted = payload(outgoing)
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
            logger.warning("can't look up what was posted", request_id=outgoing.request.id, error_code=error.code)
            return None
        except TransientFailure as error:
            # The look-up itself posts nothing.
            raise type(error)(error.code, retry_after=error.retry_after) from error
        for message in _messages(page):
            if (message.get("metadata") or {}).get("event_payload") == wanted:
                return str(message["ts"])
        cursor = (page.get("response_metadata") or {}).get("next_cursor")
        if not cursor:
            return None


def _messages(page: dict[str, Any]) -> list[dict[str, Any]]:
    messages = page.get("messages")
    if not isinstance(messages, list):
        raise TransientFailure("unexpected_answer")
    return [message for message in messages if isinstance(message, dict)]


def send(outgoing: Outgoing) -> str:
    """Post the request, unless an earlier attempt turns out to have done so. Returns the message's `ts`."""
    if outgoing.in_doubt and (ts := posted(outgoing)):
        return ts
    answer = call(partial(WebClient.chat_postMessage, channel=settings().slack_channel, **compose(outgoing)))
    if not isinstance(answer.get("ts"), str):
        raise TransientFailure("unexpected_answer", in_doubt=True)
    return str(answer["ts"])


lambda_handler = consumer(Channel.SLACK, send, prepare=secrets)
