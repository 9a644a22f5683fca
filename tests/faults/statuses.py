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
"""For each status the next ones, each with the reason for the transition. `make docs` draws them."""


def _from(status: str) -> set[str]:
    """Every status that a bot may read after this one, itself included. A bot that polls may miss statuses in between.

    The transition from `delivered` to `failed` is left out: the caller checks whether a bounce caused it.
    """
    reached, new = {status}, {status}
    while new:
        reached |= (new := {after for each in new - {Status.DELIVERED} for after in STEPS[each]} - reached)
    return reached


FORWARD: Final[dict[str, set[str]]] = {status: _from(status) for status in Status}
"""For each status, the statuses that a bot may read after it. A bounce, `delivered` to `failed`, is not among them."""
