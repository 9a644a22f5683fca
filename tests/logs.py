"""Collects everything that the code logs, and everything that a traceback shows."""

import io
import logging
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from assistance.platform.observability import logger

# Without botocore: at DEBUG it logs responses, even secrets. So no function sets the root logger's level.
VERBOSE: Final = ("assistance", "aws_lambda_powertools", "slack_sdk", "urllib3")


@contextmanager
def logging_everything() -> Iterator[io.StringIO]:
    """The log records of functions and libraries at DEBUG, with tracebacks."""
    log = io.StringIO()
    ours, theirs = logger.registered_handler, logging.StreamHandler(log)
    assert isinstance(ours, logging.StreamHandler)
    with ExitStack() as after:
        logging.getLogger().addHandler(theirs)
        after.callback(logging.getLogger().removeHandler, theirs)
        for name in VERBOSE:
            each = logging.getLogger(name)
            after.callback(each.setLevel, each.level)
            each.setLevel(logging.DEBUG)
        before = ours.setStream(log)
        assert before is not None
        after.callback(ours.setStream, before)
        yield log


def shown(error: BaseException) -> str:
    """Everything that a traceback could show of an exception, its causes and its contexts, suppressed or not."""
    chain, waiting = list[BaseException](), [error]
    while waiting:
        each = waiting.pop()
        if each not in chain:
            chain.append(each)
            waiting += [it for it in (each.__cause__, each.__context__) if it is not None]
    return "".join(f"{''.join(traceback.format_exception(each))}{each!r}{vars(each)}" for each in chain)
