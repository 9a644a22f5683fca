"""What can go wrong with a delivery, split by what the caller does next.

DeliveryError
├── TransientFailure     try again later
│   ├── RateLimited      the provider turned it away unseen, or we hold it back: this is no attempt
│   └── RefusedTogether  the provider refused it in one message with others: this is no attempt, try it alone
└── PermanentFailure     trying again is pointless: dead-letter it

UnusableSecret           a secret's value is malformed: an operator must store another one
Unreadable               an item of the table is not what it should be: pass it over, and say so
└── ItemTooLarge         it would be larger than DynamoDB takes
TableUnavailable         DynamoDB can't answer now: the caller may retry
IdempotencyKeyReused     the key was first used with another payload: the caller must choose another
InvalidSettings          a function's environment is wrong: deploy it again
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


class RateLimited(TransientFailure):
    """No more may be sent for now: the provider says so, or our own limit does."""


class RefusedTogether(TransientFailure):
    """The provider will never take a message that holds these requests. It may be one alone that it refuses."""


class PermanentFailure(DeliveryError):
    """The provider will never take this message as it is."""


class UnusableSecret(Exception):
    """The text names the defect of the secret, and never quotes its value.

    Don't raise it while handling an error that quotes the value: a traceback would show that error too.
    """


class Unreadable(Exception):
    """An item of the table can't be read. Says which of its attributes are wrong, and never what they hold."""


class ItemTooLarge(Unreadable):
    """An item can't be written as it would be: pass it over, and say so."""


class TableUnavailable(Exception):
    """The table can't take the read or the write now."""


class IdempotencyKeyReused(Exception):
    """The caller's idempotency key belongs to a request with another payload."""


class InvalidSettings(Exception):
    """The message names the wrong environment variables, without their values."""


UNREADABLE: Final = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""The providers' SDKs raise these when an answer breaks their assumptions: its text fits the charset that it names, its
JSON is shallow and has no numbers of thousands of digits, it is an object with members of the right types, and the
length that it names fits a machine's word."""
