"""Handles Slack's calls about button presses in messages that this deployment has posted."""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance.errors import TableUnavailable, TransientFailure, Unreadable
from assistance.platform.http_event import body_of, headers_of
from assistance.platform.observability import logger
from assistance.platform.secret import candidates
from assistance.platform.unforeseen import without_messages
from assistance.store.requests import deployed
from slack_interactions import button_press, response_url, signature
from slack_interactions.settings import Settings
from slack_interactions.taking import Taking

taking = cache(lambda: Taking(deployed(Settings.read().table_name), response_url.send))


def answer(event: dict[str, Any]) -> HTTPStatus:
    """Act on a call. Returns the HTTP status of the answer: if it is not 200, Slack shows the user a warning."""
    body, headers = body_of(event), headers_of(event)
    if body is None or not _is_signed(body, headers):
        logger.warning("a call is not signed by Slack")
        return HTTPStatus.UNAUTHORIZED
    pressed = button_press.read(body, Settings.read().slack_app_id)
    if pressed is None:
        return HTTPStatus.OK
    if not response_url.is_slacks(pressed.response_url, Settings.read().response_origin):
        logger.warning("a press has a response_url that is not Slack's", request_id=pressed.on.request_id)
        return HTTPStatus.BAD_REQUEST
    taking().act(pressed)
    return HTTPStatus.OK


def _is_signed(body: str, headers: Mapping[str, set[str]]) -> bool:
    arn, unavailable = Settings.read().slack_signing_secret, "slack_signing_secret_unavailable"
    secrets = candidates(arn, signature.read, unavailable=unavailable)
    return any(signature.is_signed(body, headers, each) for each in secrets)


@logger.inject_lambda_context(log_event=False)
@without_messages()
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Answer a call that comes through API Gateway's proxy integration."""
    try:
        status = answer(event)
    except button_press.Malformed as error:
        logger.error("Slack's call can't be parsed", wrong=str(error))
        status = HTTPStatus.BAD_REQUEST
    except button_press.Foreign:
        logger.warning("a call is about another Slack app")
        status = HTTPStatus.FORBIDDEN
    except (TableUnavailable, TransientFailure) as error:
        logger.error("a button press could not be handled", error_code=str(error))
        status = HTTPStatus.SERVICE_UNAVAILABLE
    except Unreadable as error:
        logger.error("a request can't be read", wrong=str(error))
        status = HTTPStatus.INTERNAL_SERVER_ERROR
    return {"statusCode": status.value, "headers": {"Cache-Control": "no-store"}, "body": ""}
