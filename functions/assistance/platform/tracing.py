"""One X-Ray trace from the bot's call to the delivery, without a tracing library.

Lambda's own tracing records each function, and SNS and SQS pass on the header that a publisher sends. Only the table's
stream loses it, so the outbox entry keeps it. It holds ids, never what a customer said.
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

_FIELDS = ("Root", "Parent", "Sampled")
_SAMPLED = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=1")
_continued: ContextVar[str | None] = ContextVar("continued", default=None)


def valid(header: object) -> str | None:
    """The header of a sampled trace, or None."""
    return header if isinstance(header, str) and _SAMPLED.fullmatch(header) else None


def current() -> str | None:
    """The header of the trace that this invocation is part of, if it is sampled.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    given = dict(part.partition("=")[::2] for part in os.environ.get("_X_AMZN_TRACE_ID", "").split(";"))
    return valid(";".join(f"{name}={given.get(name, '')}" for name in _FIELDS))


@contextmanager
def continuing(header: str | None) -> Iterator[None]:
    """Meanwhile this thread publishes as part of that trace, or without a header of this invocation's own."""
    token = _continued.set(header)
    try:
        yield
    finally:
        _continued.reset(token)


def propagate(sns: "SNSClient") -> "SNSClient":
    """Have the client send the header of the trace that is continued."""

    def add(params: dict[str, Any], **_: object) -> None:
        if header := _continued.get():
            params["headers"]["X-Amzn-Trace-Id"] = header

    # Ahead of botocore's own, which leaves a header alone that is there.
    sns.meta.events.register_first("before-call.sns.PublishBatch", add)
    return sns
