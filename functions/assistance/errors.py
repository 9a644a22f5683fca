"""What can go wrong with a delivery, split by what the caller does next.

DeliveryError
├── TransientFailure     try again later
│   └── Deferred         the attempt did not take place, so it does not count as one: try again later
│       ├── RateLimited  the provider turned it away unseen
│       └── RefusedTogether  it was refused in one message with others: try again alone
├── PermanentFailure     trying again is pointless: dead-letter it
├── GaveUp               the message now lies in the dead-letter queue: acknowledge it
└── Superseded           it is no longer needed: acknowledge it

UnusableSecret           a secret does not hold what it is for: an operator must store another value
TableUnavailable         DynamoDB can't answer now: the caller may retry
IdempotencyKeyReused     the key was first used with another payload: the caller must choose another
"""

from typing import Final


class DeliveryError(Exception):
    """A delivery did not happen. `code` is stable, fit for logs and the API, and never holds a customer's text."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class TransientFailure(DeliveryError):
    """Worth another attempt.

    `retry_after` is in seconds, where the provider gave one. `in_doubt` says that the provider may have accepted the
    message all the same: the answer was lost, not the request.
    """

    def __init__(self, code: str, *, retry_after: float | None = None, in_doubt: bool = False) -> None:
        super().__init__(code)
        self.retry_after = retry_after
        self.in_doubt = in_doubt


class Deferred(TransientFailure):
    """Nothing was tried."""


class RateLimited(Deferred):
    """The provider takes no more for now."""


class RefusedTogether(Deferred):
    """The provider will never take a message that holds these requests. It may be one alone that it refuses."""


class PermanentFailure(DeliveryError):
    """The provider will never take this message as it is."""


class GaveUp(DeliveryError):
    """No further attempt will be made, and the message is in the DLQ. `in_doubt`: this attempt may have arrived."""

    def __init__(self, code: str, *, in_doubt: bool) -> None:
        super().__init__(code)
        self.in_doubt = in_doubt


class Superseded(DeliveryError):
    """Another channel has delivered the request, or what a callback would tell has changed."""


class UnusableSecret(Exception):
    """The text says what is wrong with the secret, and never holds any of its value.

    Nor does an error that it comes from: it is raised where no other error is being handled.
    """


class TableUnavailable(Exception):
    """The table can't take the read or the write now."""


class IdempotencyKeyReused(Exception):
    """The caller's idempotency key belongs to a request with another payload."""


UNREADABLE: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the providers' SDKs raise for an answer that is not of the form that they take for granted: text in the charset
that it names, JSON of little depth without numbers of thousands of digits, an object, members of the right types."""
