"""Handles Slack's calls about button presses in messages that this deployment has posted."""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance.platform.http_event import ANSWERED, Refused, body_of, headers_of, status_of
from assistance.platform.observability import logger
from assistance.platform.secret import candidates
from assistance.platform.unforeseen import without_messages
from assistance.store.requests import deployed
from slack_interactions import button_press, response_url, signature
from slack_interactions.settings import Settings
from slack_interactions.taking import act

requests = cache(lambda: deployed(Settings.read().table_name))


def answer(event: dict[str, Any]) -> None:
    """Act on a call. If it is refused, Slack shows the user a warning."""
    body, headers = body_of(event), headers_of(event)
    if body is None or not _is_signed(body, headers):
        raise Refused(HTTPStatus.UNAUTHORIZED, "a call is not signed by Slack")
    if (pressed := button_press.read(body, Settings.read().slack_app_id)) is None:
        return
    if not response_url.is_slacks(pressed.response_url, Settings.read().response_origin):
        reason, request_id = "a press has a response_url that is not Slack's", pressed.on.request_id
        raise Refused(HTTPStatus.BAD_REQUEST, reason, request_id=request_id)
    act(pressed, requests())


def _is_signed(body: str, headers: Mapping[str, set[str]]) -> bool:
    arn, unavailable = Settings.read().slack_signing_secret, "slack_signing_secret_unavailable"
    secrets = candidates(arn, signature.read, unavailable=unavailable)
    return any(signature.is_signed(body, headers, each) for each in secrets)


@logger.inject_lambda_context(log_event=False)
@without_messages()
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Answer a call that comes through API Gateway's proxy integration."""
    status = HTTPStatus.OK
    try:
        answer(event)
    except ANSWERED as error:
        status = status_of(error)
    return {"statusCode": status.value, "headers": {"Cache-Control": "no-store"}, "body": ""}
