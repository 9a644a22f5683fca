"""Calls Slack with the token in this deployment's secret."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from assistance.errors import PermanentFailure
from assistance.secret import secret
from slack_consumer import secret as tokens
from slack_consumer import web_api
from slack_consumer.failures import AUTHENTICATION
from slack_consumer.settings import settings

Value = TypeVar("Value")


def token(*, fresh: bool = False) -> str:
    """The bot token, cached for five minutes unless a fresh one is wanted."""
    arn = settings().slack_token_secret
    return secret(arn, tokens.read, unavailable="slack_token_unavailable", fresh=fresh)


def with_token(use: Callable[[str], Value]) -> Value:
    """Call `use` with the token; if Slack refuses it, once more with a replaced one. Raises a `DeliveryError`."""
    first = token()
    try:
        return use(first)
    except PermanentFailure as failure:
        if failure.code not in AUTHENTICATION or token(fresh=True) == first:
            raise
    return use(token())


def call(method: web_api.Method) -> dict[str, Any]:
    """Call a method of Slack's and return the answer. Raises a `DeliveryError`."""
    return with_token(partial(web_api.call, method, settings().slack_api_url)).data
