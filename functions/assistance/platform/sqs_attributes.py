"""The attributes that SQS gives a message and a queue."""

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

# Milliseconds until the year 2286.
_NUMBER: Final = re.compile(r"[0-9]{1,13}")


def number(value: object) -> int | None:
    """The number that a text from SQS holds. None if the value is anything else."""
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def receive_count(record: "SQSRecord") -> int:
    """How often SQS has delivered the message. 1 if the count can't be read."""
    attributes = record.get("attributes")
    count = attributes.get("ApproximateReceiveCount") if isinstance(attributes, dict) else None
    return number(count) or 1


def named_channels(record: "SQSRecord") -> frozenset[str] | None:
    """The channels in the message attribute by which SNS filters. None if the attribute is missing or unreadable.

    A subscription with raw delivery passes SNS's attributes on to SQS. A message that an operator or version 1 has put
    into a queue has no attributes.
    https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
    """
    with suppress(ValueError, RecursionError):
        match record.raw_event:
            case {"messageAttributes": {"channels": {"stringValue": str(text)}}}:
                names = json.loads(text)
                if isinstance(names, list) and all(isinstance(name, str) for name in names):
                    return frozenset(names)
    return None
