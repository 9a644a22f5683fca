"""All that is written down while something happens, and all that an exception would show."""

import io
import logging
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from assistance.observability import logger

# Not botocore: at DEBUG it logs each answer, Secrets Manager's too, which is why no function sets the root's level.
VERBOSE: Final = ("assistance", "aws_lambda_powertools", "slack_sdk", "urllib3")


@contextmanager
def logging_everything() -> Iterator[io.StringIO]:
    """What functions and libraries log at DEBUG, tracebacks included."""
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
    """All that a traceback could show of an exception: also of those that it came from, suppressed or not."""
    chain, waiting = list[BaseException](), [error]
    while waiting:
        each = waiting.pop()
        if each not in chain:
            chain.append(each)
            waiting += [it for it in (each.__cause__, each.__context__) if it is not None]
    return "".join(f"{''.join(traceback.format_exception(each))}{each!r}{vars(each)}" for each in chain)
