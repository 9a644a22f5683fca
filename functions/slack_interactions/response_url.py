"""Answers a button press through its `response_url`: updates the message, or tells only the user who pressed something.

Slack sends a `response_url` with each press. It may be used five times within half an hour, and needs no token:
https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
"""

from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from slack_sdk.webhook import WebhookClient

from assistance.errors import UNREADABLE
from assistance.platform import tls
from assistance.platform.observability import logger, silent

ORIGINS: Final = frozenset({"https://hooks.slack.com", "https://hooks.slack-gov.com"})
# Slack waits three seconds for the answer to a button press.
TIMEOUT_SECONDS: Final = 2


def is_slacks(url: str, response_origin: str) -> bool:
    """Whether the URL leads to Slack.

    `response_origin`: if not empty, the URL must have this origin instead, which is the local Slack of `make run`.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return f"{parts.scheme}://{parts.netloc}" in ({response_origin} if response_origin else ORIGINS)


def send(url: str, body: Mapping[str, Any]) -> bool:
    """Send Slack an answer. Returns whether Slack accepted it; raises nothing, as the press is already acted on."""
    try:
        client = WebhookClient(url, timeout=TIMEOUT_SECONDS, ssl=tls.context(), retry_handlers=[], logger=silent)
        answer = client.send_dict(dict(body))
    except (OSError, HTTPException, *UNREADABLE) as error:
        logger.warning("Slack does not accept the answer to a button press", error_type=type(error).__name__)
        return False
    if answer.status_code != HTTPStatus.OK:
        logger.warning("Slack does not accept the answer to a button press", status=answer.status_code)
    return answer.status_code == HTTPStatus.OK


def tell(url: str, text: str) -> None:
    """Send Slack an answer that only the user who pressed the button sees."""
    send(url, {"response_type": "ephemeral", "replace_original": False, "text": text})
