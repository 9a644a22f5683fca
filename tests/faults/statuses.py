"""The status transitions that the tests allow, and the reason for each."""

from typing import Final

from assistance.domain.record import Status

STEPS: Final[dict[str, dict[str, str]]] = {
    Status.ACCEPTED: {Status.PUBLISHED: "SNS has accepted the message"},
    Status.PUBLISHED: {Status.SENDING: "a consumer has claimed the delivery"},
    Status.SENDING: {
        Status.DELIVERED: "the provider has accepted the message",
        Status.RETRYING: "the attempt failed",
        Status.FAILED: "the attempt failed for good",
    },
    Status.RETRYING: {Status.SENDING: "the next attempt is due"},
    Status.DELIVERED: {Status.FAILED: "the mail bounced"},
    Status.FAILED: {Status.DELIVERED: "by the fallback, a redrive or a resend"},
}
"""`make docs` draws it."""


def _from(status: str) -> set[str]:
    """Every status that may be read after this one. A bot that polls may miss statuses in between.

    The caller checks separately whether a bounce caused the transition.
    """
    reached, new = {status}, {status}
    while new:
        reached |= (new := {after for each in new - {Status.DELIVERED} for after in STEPS[each]} - reached)
    return reached


FORWARD: Final[dict[str, set[str]]] = {status: _from(status) for status in Status}
"""The statuses that may be read next. Only the bounce of a mail turns `delivered` into `failed`."""
