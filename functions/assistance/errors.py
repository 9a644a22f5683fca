"""The errors, divided by what the caller must do next."""

from typing import Final


class DeliveryError(Exception):
    """A delivery failed. Logs and the API show `code`: it never changes its meaning, and holds no customer's text.

    `retry_after`: the delay in seconds for which the provider asks, or None. `in_doubt`: True if the provider may have
    accepted the message although its answer is missing.
    """

    def __init__(self, code: str, *, retry_after: float | None = None, in_doubt: bool = False) -> None:
        super().__init__(code)
        self.code, self.retry_after, self.in_doubt = code, retry_after, in_doubt


class TransientFailure(DeliveryError):
    """The delivery failed, but another attempt may succeed."""


class RateLimited(TransientFailure):
    """Nothing may be sent for now, because of the provider's rate limit or our own."""


class RefusedInBatch(TransientFailure):
    """The provider will never take this message, which has several requests. Perhaps only one of these is the cause."""


class PermanentFailure(DeliveryError):
    """The provider will never take this message as it is."""


class UnusableSecret(Exception):
    """A secret's value can't be used. The error's text names the defect. Neither it nor its cause quotes the value."""


class Unreadable(Exception):
    """An item can't be read or written. The text names its invalid attributes, and never quotes their values."""


class TableUnavailable(Exception):
    """DynamoDB can't read or write now. The caller may retry."""


class IdempotencyKeyReused(Exception):
    """The caller's idempotency key belongs to a request with another payload."""


class InvalidSettings(Exception):
    """A function's environment variables are invalid. The text names them, without their values."""


UNREADABLE: Final = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""The providers' SDKs raise these errors if they can't parse an answer, for example because its text does not fit the
charset that it names, or its JSON is nested too deeply or has members of other types."""
