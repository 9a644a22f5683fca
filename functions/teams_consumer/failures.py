"""Turns the answer of a Teams workflow into a `DeliveryError`.

Microsoft documents that the workflow's trigger answers 202 if it has accepted the call, but no other answers. So other
statuses have their general meaning in HTTP. A status that is not listed here counts as transient, and from 500 on as in
doubt.
https://www.rfc-editor.org/rfc/rfc9110#name-status-codes
"""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Final

from assistance.errors import DeliveryError
from assistance.failures import Kind, Table, failure, retry_after

SOURCE: Final = "https://learn.microsoft.com/azure/connectors/connectors-native-reqres"
ANSWERS: Final[Mapping[str, Kind]] = {
    "http_400": Kind.PERMANENT,
    "http_401": Kind.PERMANENT,
    "http_403": Kind.PERMANENT,
    "http_404": Kind.PERMANENT,
    "http_405": Kind.PERMANENT,
    "http_410": Kind.PERMANENT,
    "http_413": Kind.PERMANENT,
    "http_415": Kind.PERMANENT,
    "http_429": Kind.RATE_LIMITED,
    "http_500": Kind.IN_DOUBT,
    "http_502": Kind.IN_DOUBT,
    "http_503": Kind.IN_DOUBT,
    "http_504": Kind.IN_DOUBT,
}
NOTES: Final[Mapping[str, str]] = {
    "http_400": "the workflow is turned off, or does not take a card",
    "http_401": "the URL's signature is wrong, or the trigger asks its callers to sign in: let anyone call it",
    "http_403": "the workflow's owner, or a policy, forbids the call",
    "http_404": "the workflow does not exist any more",
    "http_410": "the workflow does not exist any more",
    "http_413": "the card is larger than the trigger accepts, which no card of this project is",
    "http_429": "a `Retry-After` counts up to half an hour; the back-off is added",
}
TABLES: Final = (Table("Teams, the workflow's trigger", SOURCE, ANSWERS, NOTES),)


def classify(status: int, headers: Mapping[str, str], now: datetime) -> DeliveryError | None:
    """The `DeliveryError` for an answer. None if the workflow has accepted the call. A redirect counts as a failure."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    code = f"http_{status}"
    seconds = retry_after(headers.get("retry-after", ""), now)
    in_doubt = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return failure(ANSWERS.get(code, Kind.TRANSIENT), code, retry_after=seconds, in_doubt=in_doubt)
