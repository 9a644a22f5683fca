"""Calls Slack's Web API through Slack's SDK, without retries. The result is Slack's answer or a `DeliveryError`."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final, TypeAlias

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from assistance.errors import UNREADABLE, TransientFailure
from assistance.platform import tls
from assistance.platform.observability import silent
from slack_consumer.failures import classify

TIMEOUT_SECONDS: Final = 8
Method: TypeAlias = Callable[[WebClient], SlackResponse]


@dataclass(frozen=True, slots=True)
class Answer:
    """Slack's answer. `headers` has names in lower case."""

    data: dict[str, Any]
    headers: Mapping[str, str]


def call(method: Method, api_url: str, token: str) -> Answer:
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
        raise TransientFailure("connection_error", in_doubt=not _never_reached(error)) from error
    except UNREADABLE as error:
        raise TransientFailure("unexpected_answer", in_doubt=True) from error
    if not isinstance(response.data, dict):
        raise TransientFailure("unexpected_answer", in_doubt=True)
    return Answer(response.data, {name.lower(): value for name, value in response.headers.items()})


def _never_reached(error: Exception) -> bool:
    """Whether the call certainly did not reach Slack. urllib keeps the cause of an error in `reason`."""
    return isinstance(getattr(error, "reason", error), ConnectionRefusedError | socket.gaierror)
