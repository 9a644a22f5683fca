"""One X-Ray trace from the bot's call to the delivery, without a tracing library.

Lambda itself traces each function, and SNS and SQS pass on the trace header that a publisher sends. Only the table's
stream does not, so the request's item keeps the header. The header holds ids, and no customer's text.
https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sns.html
https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

_SAMPLED = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=1")
_continued: ContextVar[str | None] = ContextVar("continued", default=None)


def valid(header: object) -> str | None:
    """The header, if it is a valid trace header of a sampled call; else None."""
    return header if isinstance(header, str) and _SAMPLED.fullmatch(header) else None


def current() -> str | None:
    """The trace header of this invocation. None if X-Ray does not sample it.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    found = _SAMPLED.search(os.environ.get("_X_AMZN_TRACE_ID", ""))
    return found and found[0]


@contextmanager
def continuing(header: str | None) -> Iterator[None]:
    """Inside the `with` block, this thread publishes with that trace header; if it is None, with this invocation's."""
    token = _continued.set(header)
    try:
        yield
    finally:
        _continued.reset(token)


def propagate(sns: "SNSClient") -> "SNSClient":
    """Make the client send the trace header that `continuing` has set."""

    def add(params: dict[str, Any], **_: object) -> None:
        if header := _continued.get():
            params["headers"]["X-Amzn-Trace-Id"] = header

    # Run before botocore's own handler, which does not replace an existing header.
    sns.meta.events.register_first("before-call.sns.PublishBatch", add)
    return sns
