"""What a receiver's answer means for a callback.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#delivery-success-and-failure
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure

MAX_RETRY_AFTER: Final = 1_800
"""In seconds. A longer one might, by a hundred attempts, outlast the queue, which then forgets the callback."""


def classify(status: int, headers: Mapping[str, str], now: datetime) -> DeliveryError | None:
    """The failure that an answer stands for: None if it is none. A redirect is a failure like others."""
    code = f"http_{status}"
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status == HTTPStatus.GONE:
        return PermanentFailure(code)
    retry_after = _retry_after(headers.get("retry-after", ""), now)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(code, retry_after=retry_after)
    return TransientFailure(code, retry_after=retry_after)


def _retry_after(value: str, now: datetime) -> float | None:
    """In seconds; https://www.rfc-editor.org/rfc/rfc9110#name-retry-after."""
    seconds: float | None = None
    if value.isdecimal():
        seconds = float(value)
    else:
        with suppress(ValueError, TypeError):
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
    return None if seconds is None else min(max(seconds, 1.0), MAX_RETRY_AFTER)
