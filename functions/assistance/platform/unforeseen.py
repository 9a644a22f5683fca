"""Logs unforeseen exceptions by their type and place: their messages may quote a customer's text or a secret."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from assistance.errors import InvalidSettings
from assistance.platform.aws import AWS_ERRORS, error_code
from assistance.platform.observability import logger


class Unforeseen(Exception):
    """Replaces an unforeseen exception, whose message Lambda would log. Its text is that exception's type."""


def log(error: BaseException, **about: object) -> None:
    """Log the exception's code and type, the file, line and function of each frame, and the fields `about`."""
    code = error_code(error) if isinstance(error, AWS_ERRORS) else "unexpected_error"
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("unhandled", extra={**about, "error_code": code, "error_type": type(error).__name__, "frames": frames})


@contextmanager
def without_messages(*harmless: type[Exception]) -> Iterator[None]:
    """Log an unforeseen exception, and raise `Unforeseen` instead. `harmless`: exceptions that stay as they are."""
    try:
        yield
    except InvalidSettings:
        raise
    except harmless:
        raise
    except Exception as error:  # noqa: BLE001 # the types of unforeseen exceptions are not known
        log(error)
        raise Unforeseen(type(error).__name__) from None
