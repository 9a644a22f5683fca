"""The heartbeat: every hour each consumer checks whether it could reach humans, with its own code and permissions.

So a token that was revoked on a quiet weekend is found by the operator, not by the first customer.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from assistance.errors import DeliveryError, PermanentFailure
from assistance.platform.metrics import Metric, Tally
from assistance.platform.observability import logger
from assistance.routing import Channel, Destination, named, place, routes

EVENT: Final = "heartbeat"
"""The member that tells the schedule's event from a batch of SQS."""

REQUEST_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Heartbeat mails have this in place of a request's id: SES's answer to them is not about a request."""

Check: TypeAlias = Callable[[], Iterator[str]]
"""Yields each defect. Raises a `DeliveryError` if the provider gave no usable answer."""


def nothing() -> Iterator[str]:
    """The check of a channel that nothing can probe: its heartbeat proves only that its function runs."""
    return iter(())


def beat(channel: Destination, check: Check) -> dict[str, Any]:
    """Run the check and emit its metric: 1 if it found a defect, 0 if not.

    If the provider stops answering before any defect is found, emit nothing.
    """
    broken = list[str]()
    try:
        for defect in _defects(check):
            logger.error("the way to humans is broken", channel=channel, defect=defect)
            broken.append(defect)
    except DeliveryError as failure:
        logger.warning("the heartbeat could not tell", channel=channel, error_code=failure.code)
        if not broken:
            return {"broken": None}
    tally = Tally()
    tally.add(Metric.UNREACHABLE, int(bool(broken)), channel=channel)
    tally.emit()
    return {"broken": broken}


def _defects(check: Check) -> Iterator[str]:
    try:
        yield from check()
    except PermanentFailure as failure:
        yield failure.code


def topics(channel: Channel) -> list[str]:
    """The topics whose route uses that channel, as its own or as its fallback."""
    return [topic for topic, route in routes().items() if channel in named([route])]


def places(channel: Channel, default: str) -> list[str]:
    """The places of these topics on the channel, each once."""
    found = (place(topic, channel) for topic in topics(channel))
    return list(dict.fromkeys(each if isinstance(each, str) else default for each in found))
