"""The heartbeat: every hour each consumer checks, with its own code and permissions, whether it could send.

So if a token is revoked on a quiet weekend, the operator learns of it before the first customer does.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from assistance.errors import DeliveryError, PermanentFailure
from assistance.platform.metrics import Metric, measure
from assistance.platform.observability import logger
from assistance.routing import Channel, Destination, named, routes

EVENT: Final = "heartbeat"  # only the schedule's event has this member: an event of SQS has `Records` instead

REQUEST_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Heartbeat mails have this instead of a request's id, since SES's feedback on them is about no request."""

Check: TypeAlias = Callable[[], Iterator[str]]
"""Yields the code of each defect. Raises a `DeliveryError` if the provider gave no usable answer."""


def run(channel: Destination, check: Check) -> dict[str, Any]:
    """Emit `Unreachable`: 1 if the check finds defects, 0 if none, nothing without an answer. Returns the defects."""
    broken = list[str]()

    def found(defect: str) -> None:
        # Log it at once: an unforeseen error of a later check must not lose it.
        logger.error("the channel can't send requests", channel=channel, defect=defect)
        broken.append(defect)

    try:
        for defect in check():
            found(defect)
    except PermanentFailure as failure:
        found(failure.code)
    except DeliveryError as failure:
        logger.warning("the heartbeat got no usable answer", channel=channel, error_code=failure.code)
        if not broken:
            return {"broken": None}
    measure(Metric.UNREACHABLE, int(bool(broken)), channel=channel)
    return {"broken": broken}


def topics(channel: Channel) -> list[str]:
    """The topics whose route names the channel, among its channels or as its fallback."""
    return [topic for topic, route in routes().items() if channel in named([route])]
