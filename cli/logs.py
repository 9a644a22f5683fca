"""Implements `assistance logs`: reads the log lines of one or all functions, ordered by time.

It calls FilterLogEvents, which returns lines a second after they were logged, and for which AWS lists no price. To
search weeks of logs, use Logs Insights, which costs money per gigabyte scanned:
https://aws.amazon.com/cloudwatch/pricing/
"""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from assistance.platform.aws import error_code
from assistance.platform.clock import epoch_ms, timestamp_of
from cli.stack import Stack

# Lambda's own lines about each invocation: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html
_LAMBDA_LINE: Final = ("START ", "END ", "REPORT ", "INIT_START ", "XRAY ")
_TIMED_OUT: Final = ("Task timed out", "Runtime exited", "Runtime.ExitError", "Traceback")
_SEVERE: Final = frozenset({"WARNING", "ERROR", "CRITICAL"})
_STANDARD_FIELDS: Final = frozenset(
    {
        "level", "location", "message", "timestamp", "service", "cold_start", "function_name", "function_memory_size",
        "function_arn", "function_request_id", "xray_trace_id",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a function has logged. `fields`: what the function logged with the message: ids, codes, counts."""

    at: str
    function: str
    level: str
    message: str
    fields: dict[str, Any]

    @property
    def severe(self) -> bool:
        """Whether the line's level is WARNING or higher."""
        return self.level in _SEVERE


def read(
    stack: Stack, folders: list[str], *, since: datetime, containing: str | None, only_severe: bool, limit: int
) -> tuple[list[Line], bool]:
    """Read the newest `limit` lines since that time, oldest first; the second value is True if there are more lines.

    `folders`: the functions to read, by their folders. `containing`: read only lines with this text, such as a
    request's id; None reads all. Raises what boto3 raises.
    """
    names = stack.functions()

    def lines(folder: str) -> list[Line]:
        found = _lines(stack, folder, names[folder], since, containing)
        # Keep one line more than is shown, to know whether there are more.
        return list(deque((line for line in found if line.severe or not only_severe), maxlen=limit + 1))

    with ThreadPoolExecutor(len(folders)) as pool:
        merged = sorted((line for found in pool.map(lines, folders) for line in found), key=lambda line: line.at)
    return merged[-limit:], len(merged) > limit


def _lines(stack: Stack, folder: str, name: str, since: datetime, containing: str | None) -> Iterator[Line]:
    client = stack.client("logs")
    group = f"/aws/lambda/{name}"
    configuration = stack.client("lambda").get_function_configuration(FunctionName=name)
    group = configuration.get("LoggingConfig", {}).get("LogGroup", group)
    pattern = {"filterPattern": f'"{containing}"'} if containing else {}
    pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=epoch_ms(since), **pattern)
    try:
        for page in pages:
            for event in page["events"]:
                if containing is None or containing in event["message"]:
                    yield from _line(folder, event["timestamp"], event["message"].strip())
    except ClientError as error:
        # A function that was never invoked may have no log group yet.
        if error_code(error) != "ResourceNotFoundException":
            raise


def _line(folder: str, at: int, text: str) -> Iterator[Line]:
    if not text or text.startswith(_LAMBDA_LINE):
        return
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        level = "ERROR" if any(sign in text for sign in _TIMED_OUT) else "INFO"
        yield Line(timestamp_of(at), folder, level, text, {})
    elif str(document.get("type", "")).startswith("platform."):
        # Lambda wrote this line, not the function:
        # https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
        record = document.get("record")
        status = str(record.get("status", "success") if isinstance(record, dict) else "success")
        if status != "success":
            yield Line(timestamp_of(at), folder, "ERROR", str(document["type"]), {"status": status})
    elif "_aws" not in document:
        # A document with `_aws` is a metric and no log line: docs/operations.md#what-is-counted.
        said = {name: value for name, value in document.items() if name not in _STANDARD_FIELDS}
        yield Line(timestamp_of(at), folder, str(document.get("level", "INFO")), str(document.get("message", "")), said)
