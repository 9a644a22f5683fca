"""The logger of all functions. It writes JSON lines, and gets no customers' texts, no secrets and no events."""

import logging

from aws_lambda_powertools import Logger

# Lambda filters log lines by their level only if their times are in RFC 3339:
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
logger = Logger(use_rfc3339=True)
# Libraries log no details: at DEBUG, botocore logs each call with its body.
logging.getLogger().setLevel(logging.WARNING)
# For Slack's SDK, which would log what it sends, and answers that it can't parse.
silent = logging.getLogger("slack_sdk.silent")
silent.disabled = True
