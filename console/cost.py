"""Counts the console's calls to AWS, and their approximate cost.

The prices are the list prices of us-east-1: https://aws.amazon.com/dynamodb/pricing/on-demand/ and
https://aws.amazon.com/sqs/pricing/.
"""

import threading
from collections import Counter
from math import ceil
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from boto3.session import Session

READ: Final = 0.125 / 1_000_000
"""The price in dollars of a read request unit: a consistent read of up to 4 KB."""
MESSAGE_CALL: Final = 0.40 / 1_000_000
_UNIT: Final = 4_096


class Meter:
    """Counts the calls of a boto3 session and their cost.

    The size of DynamoDB's answer stands for the size of the items read. An answer is a little larger than its items, so
    the cost is a little too high.
    """

    def __init__(self, session: "Session") -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._dollars = 0.0
        session.events.register("after-call", self._called)

    def document(self) -> dict[str, Any]:
        """Return the number of calls and their approximate cost in dollars."""
        with self._lock:
            return {"calls": self._calls.total(), "dollars": self._dollars}

    def _called(self, *, http_response: Any, model: Any, **_: object) -> None:  # noqa: ANN401
        service = model.service_model.service_name
        size = int(http_response.headers.get("content-length") or 0)
        price = {"dynamodb": max(1, ceil(size / _UNIT)) * READ, "sqs": MESSAGE_CALL}.get(service, 0.0)
        with self._lock:
            self._calls[service] += 1
            self._dollars += price
