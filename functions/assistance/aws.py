"""AWS clients with limits that fit inside a function's own time-out.

Standard retry mode: https://docs.aws.amazon.com/boto3/latest/guide/retries.html
"""

from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from assistance import tracing

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_sesv2 import SESV2Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

AWS_ERRORS: Final = (ClientError, BotoCoreError)
"""Everything a call to AWS raises: an error that it answered, or none that came back."""

# As many connections as a batch may have threads: https://docs.aws.amazon.com/botocore/latest/reference/config.html
QUICK = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=50,
)
# A send that timed out may have happened: the SDK must not repeat it on its own.
_ONCE = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 1})


def table(name: str) -> "Table":
    """The one table."""
    return boto3.resource("dynamodb", config=QUICK).Table(name)


def sns() -> "SNSClient":
    """The broker. Publishing twice is harmless, so it may retry."""
    return tracing.propagate(boto3.client("sns", config=QUICK))


def sqs() -> "SQSClient":
    """The queues."""
    return boto3.client("sqs", config=QUICK)


def ses() -> "SESV2Client":
    """Email, each call tried once only."""
    return boto3.client("sesv2", config=_ONCE)


def error_code(error: Exception) -> str:
    """AWS's own code for what it answered, or the kind of failure when nothing came back."""
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"]
    return type(error).__name__
