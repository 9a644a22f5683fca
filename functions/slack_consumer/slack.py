"""Calls Slack's Web API with the token in this deployment's secret."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

from slack_sdk import WebClient

from assistance.errors import PermanentFailure, TransientFailure
from assistance.platform.secret import secret
from slack_consumer import secret as tokens
from slack_consumer import web_api
from slack_consumer.failures import OTHER_TOKEN_MAY_WORK
from slack_consumer.settings import settings

Value = TypeVar("Value")
UNAVAILABLE: Final = "slack_token_unavailable"


def token(*, fresh: bool = False) -> str:
    """The bot's token, cached for five minutes. `fresh` reads it from the secret again."""
    arn = settings().slack_token_secret
    return secret(arn, tokens.read, unavailable=UNAVAILABLE, fresh=fresh)


def with_token(use: Callable[[str], Value]) -> Value:
    """Call `use` with the token; and once more if Slack refuses it and a new one is stored. Raises `DeliveryError`."""
    first = token()
    try:
        return use(first)
    except PermanentFailure as failure:
        if failure.code not in OTHER_TOKEN_MAY_WORK or token(fresh=True) == first:
            raise
    return use(token())


def call(method: web_api.Method) -> dict[str, Any]:
    """Call a method of Slack's Web API, and return the answer. Raises a `DeliveryError`."""
    return with_token(partial(web_api.call, method, settings().slack_api_url)).data


def ours(message: Mapping[str, Any]) -> bool:
    """Whether this deployment's app has posted a message. Raises `DeliveryError` if Slack does not tell the app's ids.

    Slack writes `bot_id` and `user`; no app can imitate them: https://docs.slack.dev/reference/methods/chat.postMessage
    """
    own = with_token(ids)
    return any(isinstance(message.get(name), str) and message[name] in own for name in ("bot_id", "user"))


@lru_cache(maxsize=1)
def ids(bot_token: str) -> frozenset[str]:
    """The ids that Slack writes into messages of the token's app: https://docs.slack.dev/reference/methods/auth.test."""
    who = web_api.call(WebClient.auth_test, settings().slack_api_url, bot_token).data
    own = frozenset(who[name] for name in ("bot_id", "user_id") if isinstance(who.get(name), str) and who[name])
    if not own:
        raise TransientFailure("unexpected_answer")
    return own
