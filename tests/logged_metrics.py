"""Reads the metrics that the functions log, in the format that CloudWatch reads.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias


class Series(NamedTuple):
    """A metric with its namespace and dimensions, by which CloudWatch identifies it."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]

    @property
    def label(self) -> str:
        """The metric's name and the values of its dimensions, such as `Delivered slack sales`."""
        return " ".join([self.name, *(value for _, value in sorted(self.dimensions))])


Emitted: TypeAlias = dict[Series, list[float]]


def emitted(log: str) -> Emitted:
    """Every value of every metric in the log, by metric, namespace and dimensions."""
    values: defaultdict[Series, list[float]] = defaultdict(list)
    for document in _documents(log):
        for directive in document["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = frozenset((name, document[name]) for name in names)
                for metric in directive["Metrics"]:
                    value = document[metric["Name"]]
                    series = Series(directive["Namespace"], metric["Name"], dimensions)
                    values[series] += value if isinstance(value, list) else [value]
    return dict(values)


def _documents(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        if '"_aws"' in line:
            yield json.loads(line)
