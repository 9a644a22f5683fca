"""Metrics in CloudWatch's embedded format: lines in the log, which cost no call.

Dimensions are topics and channels, so that nothing personal can be one. Every pair of a name and dimension values is a
metric that is paid for while it has data: add sparingly.
"""

from collections import defaultdict
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from assistance.platform.observability import logger
from assistance.routing import Destination


class Metric(StrEnum):
    """The metrics of the domain. The reconciler has some of its own."""

    ACCEPTED = "Accepted"
    """Requests, by topic."""
    REPLAYED = "Replayed"
    """Calls that repeated an earlier one, by topic."""
    REFUSED = "Refused"
    """1 for each call of a bot's that was refused with a 4xx, and 0 for each other one: the average is their rate."""
    PUBLISHED = "Published"
    """Messages that SNS has taken, by channel and topic."""
    ATTEMPTS = "Attempts"
    """Attempts at a delivery, by channel and topic."""
    DELIVERED = "Delivered"
    """Deliveries, by channel and topic."""
    FAILED = "Failed"
    """Deliveries given up, by channel and topic; by channel alone without those that bounced."""
    ACCEPTED_TO_DELIVERED = "AcceptedToDelivered"
    """How long it took from acceptance to a human's channel, or until the bot was told, by channel and topic."""
    ACCEPTED_TO_TAKEN = "AcceptedToTaken"
    """How long it took from acceptance until a human took the request, by topic."""
    MISROUTED = "Misrouted"
    """Messages in a channel's queue that SNS has for other channels, by channel. They are not sent."""

    OLDEST_PENDING_AGE = "OldestPendingAge"
    """How long the oldest request waits that was published to a channel, by channel: 0 if none does."""

    UNREACHABLE = "Unreachable"
    """Whether the heartbeat found the way to humans broken (1) or not (0), by channel."""
    MAIL_FEEDBACK = "MailFeedback"
    """What SES said of the heartbeat's mails, by channel."""


_UNITS: Final = defaultdict(
    lambda: MetricUnit.Count,
    {
        Metric.ACCEPTED_TO_DELIVERED: MetricUnit.Milliseconds,
        Metric.ACCEPTED_TO_TAKEN: MetricUnit.Milliseconds,
        Metric.OLDEST_PENDING_AGE: MetricUnit.Seconds,
    },
)


class Tally:
    """The counts of one invocation. Threads may add to it side by side. No method raises.

    Powertools' own `Metrics` is one set for the whole process, not made for threads, and has one set of dimensions.
    """

    def __init__(self) -> None:
        self._values: list[tuple[Metric, float, frozenset[tuple[str, str]]]] = []

    def add(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """Count something. Appending to a list is atomic."""
        self._values.append((metric, value, frozenset(dimensions.items())))

    def failed(self, channel: Destination, topic: str | None) -> None:
        """Count a delivery that was given up: by channel as well, for the alarm. What does not parse has no topic."""
        self.add(Metric.FAILED, channel=channel)
        if topic:
            self.add(Metric.FAILED, channel=channel, topic=topic)

    def took(self, metric: Metric, since: str, now: datetime, **dimensions: str) -> None:
        """Count the time since then, unless that is no time to reckon with."""
        with suppress(TypeError, ValueError):
            self.add(metric, max((now - datetime.fromisoformat(since)) / timedelta(milliseconds=1), 0), **dimensions)

    def emit(self) -> None:
        """Write what was counted, each set of dimensions in lines of its own. A metric may be lost, a request never."""
        try:
            by_dimensions: defaultdict[frozenset[tuple[str, str]], list[tuple[Metric, float]]] = defaultdict(list)
            for metric, value, dimensions in self._values:
                by_dimensions[dimensions].append((metric, value))
            for dimensions, values in by_dimensions.items():
                # Powertools itself writes a line after a hundred values of a metric, so it needs the dimensions first.
                # The service is empty: it would be a dimension too.
                metrics = EphemeralMetrics(service="", default_dimensions=dict(sorted(dimensions)))
                for metric, value in values:
                    metrics.add_metric(metric, _UNITS[metric], value)
                if metrics.metric_set:
                    metrics.flush_metrics()
        except Exception as error:  # noqa: BLE001
            # Whatever it is: the counted work is done, and must not be repeated for a lost metric.
            logger.error("metrics were lost", error_type=type(error).__name__)
