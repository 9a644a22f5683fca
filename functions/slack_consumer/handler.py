"""Delivers requests to a Slack channel."""

import logging
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
from assistance.models import AssistanceRequest
from assistance.observability import logger
from assistance.routing import Channel
from slack_consumer.failures import AUTHENTICATION, classify
from slack_consumer.message import compose
from slack_consumer.settings import settings

TIMEOUT_SECONDS = 8
TOKEN_MAX_AGE_SECONDS = 300

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
    return SecretsProvider(boto_config=aws.QUICK)


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
        replaced = error.response.get("error") in AUTHENTICATION and token(fresh=True) != bot_token
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
        raise TransientFailure("connection_error", in_doubt=True) from error
    if not isinstance(data, dict):
        raise TransientFailure("unexpected_answer", in_doubt=True)
    return data


def posted(request: AssistanceRequest) -> str | None:
    """The `ts` of the message that an earlier attempt posted for this request, if one did.

    https://docs.slack.dev/reference/methods/conversations.history; it takes a channel's id, not its name, and the
    history scope. Without them nothing can be looked up, and the request is sent again.
    """
    # A minute earlier than the request: our clock and Slack's may differ.
    oldest = datetime.fromisoformat(request.created_at) - timedelta(minutes=1)
    cursor: str | None = None
    while True:
        try:
            page = call(
                partial(
                    WebClient.conversations_history,
                    channel=settings().slack_channel,
                    oldest=str(oldest.timestamp()),
                    include_all_metadata=True,
                    limit=200,
                    cursor=cursor,
                )
            )
        except PermanentFailure as error:
            logger.warning("can't look up what was posted", request_id=request.id, error_code=error.code)
            return None
        for message in page["messages"]:
            if message.get("metadata", {}).get("event_payload", {}).get("request_id") == request.id:
                return str(message["ts"])
        cursor = page.get("response_metadata", {}).get("next_cursor")
        if not cursor:
            return None


def send(request: AssistanceRequest, *, in_doubt: bool) -> str:
    """Post the request, unless an earlier attempt turns out to have done so. Returns the message's `ts`."""
    if in_doubt and (ts := posted(request)):
        return ts
    answer = call(partial(WebClient.chat_postMessage, channel=settings().slack_channel, **compose(request)))
    return str(answer["ts"])


lambda_handler = consumer(Channel.SLACK, send)
