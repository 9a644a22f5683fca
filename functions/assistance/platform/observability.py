"""The logger of all functions. It writes JSON lines, and no function gives it a description or a secret.

Handlers log ids, topics, channels, statuses and error codes. They do not log events, even if
POWERTOOLS_LOGGER_LOG_EVENT is set, since events hold customers' texts.

The root logger's level is WARNING, so that libraries log no details: at DEBUG, botocore logs each call with its body.
Lambda filters log lines by their level only if their times are in RFC 3339:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""

import logging

from aws_lambda_powertools import Logger

logger = Logger(use_rfc3339=True)
logging.getLogger().setLevel(logging.WARNING)
