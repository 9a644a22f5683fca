"""Logging for every function: one structured logger, which is never given a description or a secret.

Handlers log ids, topics, channels, statuses and error codes. Events are not logged, whatever
POWERTOOLS_LOGGER_LOG_EVENT says: they hold customers' text.
Libraries log no more than warnings, whatever the level of the root logger is: at
DEBUG botocore logs each call with its body. Lambda reads levels only beside times of RFC 3339.
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""

import logging

from aws_lambda_powertools import Logger

logger = Logger(use_rfc3339=True)
logging.getLogger().setLevel(logging.WARNING)
