"""Secrets that a channel needs: read once in five minutes. By itself, so that the others do not import it."""

from collections.abc import Callable
from functools import cache
from typing import Final, TypeVar

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from assistance import aws
from assistance.errors import TransientFailure, UnusableSecret
from assistance.observability import logger

MAX_AGE_SECONDS: Final = 300
Value = TypeVar("Value")


@cache
def secrets() -> SecretsProvider:
    """Powertools' cache over Secrets Manager."""
    return SecretsProvider(boto3_client=aws.secrets())


def secret(arn: str, read: Callable[[str], Value], *, unavailable: str, fresh: bool = False) -> Value:
    """Read a secret with `read`. Its text is cached for five minutes; `fresh` fetches it anew.

    Raises a `TransientFailure` with the code `unavailable`: the stack creates the secret before an operator stores a
    value in it, and the operator may store a value that `read` can't use.
    """
    try:
        return read(_stored(arn, unavailable, fresh=fresh))
    except UnusableSecret as error:
        if not fresh:
            # An operator may have stored a good value since.
            return secret(arn, read, unavailable=unavailable, fresh=True)
        logger.error("a secret can't be used: put another value into it", secret=arn, defect=str(error))
        raise TransientFailure(unavailable) from error


def _stored(arn: str, unavailable: str, *, fresh: bool) -> str:
    try:
        value = secrets().get(arn, max_age=MAX_AGE_SECONDS, force_fetch=fresh)
    except GetParameterError as error:
        logger.error("a secret can't be read: put a value into it", secret=arn)
        raise TransientFailure(unavailable) from error
    return text(value)


def text(value: object) -> str:
    """The stored value, if it is text. Raises `UnusableSecret` for bytes."""
    if not isinstance(value, str):
        raise UnusableSecret("the secret is binary: store it as text")
    return value
