"""Logging for every function: one structured logger, which is never given a description or a secret.

Handlers log ids, topics, channels, statuses and error codes. Events are not logged: they hold customers' text.
"""

from aws_lambda_powertools import Logger

logger = Logger()
