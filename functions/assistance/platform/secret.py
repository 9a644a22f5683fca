"""Reads the secrets that a channel needs, at most once in five minutes."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, TypeVar

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from assistance.errors import PermanentFailure, TransientFailure, UnusableSecret
from assistance.platform import aws
from assistance.platform.observability import logger

MAX_AGE_SECONDS: Final = 300
CHANGED_SECONDS: Final = 10
"""Minimum time between two calls of `candidates` that read the same secret although it is cached."""
_CHANGED: Final = "changed"
Value = TypeVar("Value")
Result = TypeVar("Result")


@cache
def secrets() -> SecretsProvider:
    """Powertools' client of Secrets Manager, which caches the values."""
    return SecretsProvider(boto3_client=aws.secrets())


def secret(arn: str, read: Callable[[str], Value], *, unavailable: str, fresh: bool = False) -> Value:
    """Get a secret, cached unless `fresh`; parse it by `read`. If one fails, raise `TransientFailure(unavailable)`."""
    try:
        return read(text(secrets().get(arn, max_age=MAX_AGE_SECONDS, force_fetch=fresh)))
    except GetParameterError as error:
        logger.error("a secret can't be read: put a value into it", secret=arn)
        raise TransientFailure(unavailable) from error
    except UnusableSecret as error:
        if not fresh:
            # The value may come from the cache, and an operator may have stored a usable one since.
            return secret(arn, read, unavailable=unavailable, fresh=True)
        logger.error("a secret can't be used: put another value into it", secret=arn, defect=str(error))
        raise TransientFailure(unavailable) from error


def with_secret(arn: str, read: Callable[[str], Value], use: Callable[[Value], Result], *, unavailable: str) -> Result:
    """Call `use` with the cached secret. If that fails for good, and an operator has stored a new one, use that."""
    first = secret(arn, read, unavailable=unavailable)
    try:
        return use(first)
    except PermanentFailure:
        if (stored := secret(arn, read, unavailable=unavailable, fresh=True)) == first:
            raise
    return use(stored)


def candidates(arn: str, read: Callable[[str], Value], *, unavailable: str) -> Iterator[Value]:
    """Yield the cached secret and, if that does not fit a signature, the present one: an operator may have changed it.

    The present one is left out if this function has read it for that purpose less than `CHANGED_SECONDS` ago.
    Otherwise, callers without a valid signature could make us call Secrets Manager again and again. Raises as `secret`.
    """
    yield secret(arn, read, unavailable=unavailable)
    if not secrets().has_not_expired_in_cache((arn, _CHANGED)):
        secrets().add_to_cache((arn, _CHANGED), value=True, max_age=CHANGED_SECONDS)
        yield secret(arn, read, unavailable=unavailable, fresh=True)


def text(value: object) -> str:
    """The secret's value, without white space at its ends. Raises `UnusableSecret` if it is not text, or empty."""
    if not isinstance(value, str):
        raise UnusableSecret("the secret is binary: store it as text")
    if not value.strip():
        raise UnusableSecret("the secret is empty")
    return value.strip()
