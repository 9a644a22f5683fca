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
from assistance.failures import Table, by_code, http_failure

ANSWERS: Final = by_code(
    permanent="http_400 http_401 http_403 http_404 http_405 http_410 http_413 http_415",
    in_doubt="http_500 http_502 http_503 http_504",
    rate_limited="http_429",
)
TABLES: Final = (
    Table(
        "Teams, the workflow's trigger",
        "https://learn.microsoft.com/azure/connectors/connectors-native-reqres",
        ANSWERS,
    ),
)


def classify(status: int, headers: Mapping[str, str], now: datetime) -> DeliveryError | None:
    """The `DeliveryError` for an answer. None if the workflow has accepted the call."""
    return http_failure(status, headers, ANSWERS, now, in_doubt=status >= HTTPStatus.INTERNAL_SERVER_ERROR)
