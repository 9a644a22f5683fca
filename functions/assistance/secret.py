"""Secrets that a channel needs: read once in five minutes. By itself, so that the others do not import it."""

from functools import cache
from typing import Final

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from assistance import aws
from assistance.errors import TransientFailure
from assistance.observability import logger

MAX_AGE_SECONDS: Final = 300


@cache
def secrets() -> SecretsProvider:
    """Powertools' cache over Secrets Manager."""
    return SecretsProvider(boto3_client=aws.secrets())


def secret(arn: str, *, unavailable: str, fresh: bool = False) -> str:
    """A secret's value, cached for five minutes unless a fresh one is wanted.

    Raises a `TransientFailure` with the code `unavailable`: it exists before somebody puts a value into it.
    """
    try:
        value = secrets().get(arn, max_age=MAX_AGE_SECONDS, force_fetch=fresh)
    except GetParameterError as error:
        logger.error("a secret can't be read: put a value into it", secret=arn)
        raise TransientFailure(unavailable) from error
    return str(value).strip()
