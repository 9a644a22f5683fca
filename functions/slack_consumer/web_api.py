"""Calls Slack's Web API through Slack's SDK, without retries. The result is Slack's answer or a `DeliveryError`."""

import re
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from http.client import HTTPException
from typing import Any, Final, TypeAlias, TypeVar

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from assistance.errors import UNREADABLE, TransientFailure, UnusableSecret
from assistance.platform import tls
from assistance.platform.observability import silent
from assistance.platform.secret import with_secret
from slack_consumer.failures import classify
from slack_consumer.settings import Settings

TIMEOUT_SECONDS: Final = 8
UNAVAILABLE: Final = "slack_token_unavailable"
# Slack documents only a token's prefix. These are the characters of a bearer token:
# https://www.rfc-editor.org/rfc/rfc6750#section-2.1
_NO_TOKEN: Final = re.compile(r"[^A-Za-z0-9._~+/=-]")
Method: TypeAlias = Callable[[WebClient], SlackResponse]
Value = TypeVar("Value")


def call(method: Method, api_url: str, token: str) -> SlackResponse:
    """Call the method once: the SDK's own retry could post a message twice. Raises a `DeliveryError`."""
    trusted = tls.context() if api_url.startswith("https:") else None
    client = WebClient(token, api_url, TIMEOUT_SECONDS, trusted, retry_handlers=[], logger=silent)
    try:
        response = method(client)
    except SlackApiError as error:
        raise classify(error) from None
    except TimeoutError as error:
        raise TransientFailure("timeout", in_doubt=True) from error
    except (OSError, HTTPException) as error:
        # urllib keeps an error's cause in `reason`. After these two causes, the call certainly did not reach Slack.
        unreached = isinstance(getattr(error, "reason", error), ConnectionRefusedError | socket.gaierror)
        raise TransientFailure("connection_error", in_doubt=not unreached) from error
    except UNREADABLE as error:
        raise TransientFailure("unexpected_answer", in_doubt=True) from error
    if not isinstance(response.data, dict):
        raise TransientFailure("unexpected_answer", in_doubt=True)
    return response


def read_token(text: str) -> str:
    """The token in the secret. Raises `UnusableSecret` if the text can't be a token."""
    if odd := _NO_TOKEN.search(text):
        raise UnusableSecret(f"the secret holds U+{ord(odd[0]):04X}, which no token has: store the token alone")
    return text


def with_token(use: Callable[[str], Value]) -> Value:
    """Call `use` with this deployment's token. Raises `DeliveryError`.

    After any permanent failure, `with_secret` tries a token that is stored since: it may have more scopes, or belong to
    another app or workspace.
    """
    return with_secret(Settings.read().slack_token_secret, read_token, use, unavailable=UNAVAILABLE)


def ask(method: Method) -> SlackResponse:
    """Call a method with this deployment's token. Raises a `DeliveryError`."""
    return with_token(partial(call, method, Settings.read().slack_api_url))


def ours(message: Mapping[str, Any]) -> bool:
    """Whether this deployment's app has posted a message. Raises `DeliveryError` if Slack does not tell the app's ids.

    Slack writes `bot_id` and `user`; no app can imitate them: https://docs.slack.dev/reference/methods/chat.postMessage
    """
    own = with_token(ids)
    return any(isinstance(message.get(name), str) and message[name] in own for name in ("bot_id", "user"))


@lru_cache(maxsize=1)
def ids(token: str) -> frozenset[str]:
    """The ids that Slack writes into messages of the token's app: https://docs.slack.dev/reference/methods/auth.test."""
    who = call(WebClient.auth_test, Settings.read().slack_api_url, token)
    own = frozenset(who[name] for name in ("bot_id", "user_id") if isinstance(who.get(name), str) and who[name])
    if not own:
        raise TransientFailure("unexpected_answer")
    return own
