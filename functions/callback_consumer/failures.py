"""Turns the answer of a callback's receiver into a `DeliveryError`, as Standard Webhooks says."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure
from assistance.failures import retry_after


def classify(status: int, headers: Mapping[str, str], now: datetime) -> DeliveryError | None:
    """The `DeliveryError` for an answer. None if the receiver has accepted the callback. A redirect is a failure."""
    code = f"http_{status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status == HTTPStatus.GONE:
        return PermanentFailure(code)
    seconds = retry_after(headers.get("retry-after", ""), now)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(code, retry_after=seconds)
    return TransientFailure(code, retry_after=seconds)
