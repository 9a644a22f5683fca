"""Metrics in CloudWatch's embedded metric format. AWS charges for each combination of name and dimensions."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from assistance.platform.observability import logger
from assistance.routing import Destination


class Metric(StrEnum):
    """The metrics of requests and deliveries. The reconciler adds further ones, by their names."""

    ACCEPTED = "Accepted"  # by topic
    REPLAYED = "Replayed"  # calls that repeated an earlier call, by topic
    REFUSED = "Refused"  # 1 for each POST that got a 4xx, else 0: the average is the rate of refusals
    ERRORED = "Errored"  # 1 for each POST that got a 5xx, else 0
    PUBLISHED = "Published"  # messages that SNS has accepted, by channel and topic
    ATTEMPTS = "Attempts"  # by channel and topic
    DELIVERED = "Delivered"  # by channel and topic
    FAILED = "Failed"  # failed deliveries, by channel and topic. The value by channel alone leaves out bounces
    ACCEPTED_TO_DELIVERED = "AcceptedToDelivered"  # until the delivery or the callback, by channel and topic
    ACCEPTED_TO_TAKEN = "AcceptedToTaken"  # by topic
    MISROUTED = "Misrouted"  # messages in a channel's queue that are for other channels, by channel. None is sent
    OLDEST_PENDING_AGE = "OldestPendingAge"  # of the requests published to a channel and not delivered there; or 0
    UNREACHABLE = "Unreachable"  # 1 if the heartbeat found that the channel can't send, 0 if it can, by channel
    MAIL_FEEDBACK = "MailFeedback"  # SES's reports about the heartbeat's mails, by channel. 0 for each of these mails


_UNITS: Final[Mapping[str, MetricUnit]] = {
    Metric.ACCEPTED_TO_DELIVERED: MetricUnit.Milliseconds,
    Metric.ACCEPTED_TO_TAKEN: MetricUnit.Milliseconds,
    Metric.OLDEST_PENDING_AGE: MetricUnit.Seconds,
    "OldestUnpublishedAge": MetricUnit.Seconds,
    "OldestOpenAge": MetricUnit.Seconds,
    "LedgerBehind": MetricUnit.Seconds,
}


class Tally:
    """The metrics of one invocation. Several threads may add to it, unlike to Powertools' `Metrics`."""

    def __init__(self) -> None:
        self._values: list[tuple[str, float, frozenset[tuple[str, str]]]] = []

    def add(self, metric: str, value: float = 1, **dimensions: str) -> None:
        """Add a value to a metric. Several threads may do so, because appending to a list is atomic."""
        self._values.append((metric, value, frozenset(dimensions.items())))

    def failed(self, channel: Destination, topic: str | None) -> None:
        """Count a failed delivery by channel (for the alarm), and by topic unless the message could not be parsed."""
        self.add(Metric.FAILED, channel=channel)
        if topic:
            self.add(Metric.FAILED, channel=channel, topic=topic)

    def emit(self) -> None:
        """Write the metrics, in separate lines for each set of dimensions. Raises nothing, even if metrics are lost."""
        try:
            by_dimensions: defaultdict[frozenset[tuple[str, str]], list[tuple[str, float]]] = defaultdict(list)
            for metric, value, dimensions in self._values:
                by_dimensions[dimensions].append((metric, value))
            for dimensions, values in by_dimensions.items():
                _write(dict(sorted(dimensions)), values)
        except Exception as error:  # noqa: BLE001
            # Raise no error: the invocation has done its work, which must not be repeated because of a lost metric.
            logger.error("metrics were lost", error_type=type(error).__name__)


def _write(dimensions: dict[str, str], values: Sequence[tuple[str, float]]) -> None:
    # The service is empty, or it would become a dimension.
    line = EphemeralMetrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE"), service="")
    # Set the dimensions first, since Powertools writes a line as soon as a metric has a hundred values.
    line.dimension_set.update(dimensions)
    for metric, value in values:
        line.add_metric(metric, _UNITS.get(metric, MetricUnit.Count), value)
    if line.metric_set:
        line.flush_metrics()


def measure(metric: str, value: float = 1, **dimensions: str) -> None:
    """Write one value of one metric. Raises nothing."""
    tally = Tally()
    tally.add(metric, value, **dimensions)
    tally.emit()
