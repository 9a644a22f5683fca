"""Finds a request by the first characters of its id.

The table's key is the complete id, so DynamoDB can't look up its first characters. The index of accepted requests lists
ids by time. An id that the API generates (UUIDv7) begins with the time in milliseconds, so its first eight characters
say which minute to list. An id that the API derives from an Idempotency-Key (UUIDv5) contains no time: for such an id,
search the last seven days.
https://www.rfc-editor.org/rfc/rfc9562#section-5.7
"""

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from assistance.platform.clock import timestamp, utc_now
from assistance.store.requests import Requests
from assistance.store.schema import PARTITION_KEY
from cli.errors import Failure

MIN_LENGTH: Final = 8
_PREFIX: Final = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
_TIME_DIGITS: Final = 12
# The API reads its clock once for a request's id and once for its time, so the two are less than a minute apart.
_CLOCK_TOLERANCE: Final = timedelta(minutes=1)
_SEARCHED_PERIOD: Final = timedelta(days=7)
MAX_SEARCHED: Final = 50_000
"""Maximum number of requests that are searched, newest first: about 10 MB of the index, 1,300 read units."""
_MAX_IDS_SHOWN: Final = 10


def completed(requests: Requests, typed: str) -> str:
    """The only id that begins with `typed`. Raises `Failure` if there is none, or several, which it lists."""
    prefix = typed.lower()
    if not _PREFIX.fullmatch(prefix):
        raise Failure(
            f"{typed} is not a request's id: pass the 'id' from the API's answer, "
            f"or at least its first {MIN_LENGTH} characters"
        )
    found, _ = _among(requests, prefix, *_generated_at(prefix))
    now = utc_now()
    searched_all = True
    if not found:
        found, searched_all = _among(requests, prefix, now - _SEARCHED_PERIOD, now)
    if not found:
        searched = (
            f"no request of the last {_SEARCHED_PERIOD.days} days" if searched_all
            else f"none of the newest {MAX_SEARCHED} requests"
        )  # fmt: skip
        raise Failure(
            f"{searched} has an id that begins with {prefix}: "
            "check these characters and the --stack; for an older request, pass the complete id"
        )
    if len(found) > 1:
        some = ", ".join(sorted(found)[:_MAX_IDS_SHOWN])
        raise Failure(f"the ids of {len(found)} requests begin with {prefix}: pass more characters. {some}")
    return found.pop()


def _generated_at(prefix: str) -> tuple[datetime, datetime]:
    """Start and end of the time in which a UUIDv7 with this prefix can have been generated; equal if there is none."""
    digits = prefix.replace("-", "")[:_TIME_DIGITS]
    first, last = (int(digits.ljust(_TIME_DIGITS, filler), 16) for filler in "0f")
    epoch = datetime.fromtimestamp(0, UTC)
    try:
        return epoch + timedelta(milliseconds=first) - _CLOCK_TOLERANCE, epoch + timedelta(
            milliseconds=last
        ) + _CLOCK_TOLERANCE
    except OverflowError:
        # Later than any time that Python can represent, so this is no UUIDv7: an empty period.
        return epoch, epoch


def _among(requests: Requests, prefix: str, since: datetime, until: datetime) -> tuple[set[str], bool]:
    """The ids with this prefix of requests accepted in that period, and whether all of these requests were searched."""
    listed = requests.items.accepted(timestamp(since), timestamp(until), newest_first=True, page=None)
    found = {id_ for item in islice(listed, MAX_SEARCHED) if (id_ := str(item[PARTITION_KEY])).startswith(prefix)}
    return found, next(listed, None) is None
