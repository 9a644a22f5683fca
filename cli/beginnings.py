"""Finds a request by the beginning of its id.

The table's key is the whole id, so no read finds its beginning. The index of accepted requests lists ids by time. An id
that the API has drawn begins with its time, to the millisecond (UUIDv7), so its first eight characters say which minute
to list. One that follows from an Idempotency-Key (UUIDv5) says nothing of its time: look through the last days.
https://www.rfc-editor.org/rfc/rfc9562#section-5.7
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from assistance.platform.clock import timestamp, utc_now
from assistance.store.requests import Requests
from assistance.store.schema import PARTITION_KEY
from cli.errors import Failure

SHORTEST: Final = 8
_BEGINNING: Final = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
_TIME_DIGITS: Final = 12
# The API's clock and the one that the id was drawn by are the same; a repeat of the call is a request of its own.
_ABOUT: Final = timedelta(minutes=1)
_AS_FAR_AS: Final = timedelta(days=7)
MOST: Final = 50_000
"""How many requests of the period are looked through, oldest first: some 10 MB of the index, 1,300 read units."""
_SHOWN: Final = 10


def completed(requests: Requests, typed: str) -> str:
    """The one id that begins so. Raises `Failure`, which lists the ids if there are several."""
    beginning = typed.lower()
    if not _BEGINNING.fullmatch(beginning):
        raise Failure(
            f"{typed} is no request's id: pass the 'id' from the API's answer, or its first {SHORTEST} characters"
        )
    found = set(_among(requests, beginning, *_drawn_at(beginning)))
    now = utc_now()
    if not found:
        found = set(_among(requests, beginning, now - _AS_FAR_AS, now))
    if not found:
        raise Failure(
            f"no request that was accepted in the last {_AS_FAR_AS.days} days has an id that begins with {beginning}: "
            "check it and the --stack; for an older request, pass the whole id"
        )
    if len(found) > 1:
        some = ", ".join(sorted(found)[:_SHOWN])
        raise Failure(f"{beginning} is the beginning of {len(found)} requests' ids: pass more characters. {some}")
    return found.pop()


def _drawn_at(beginning: str) -> tuple[datetime, datetime]:
    """The time in which a UUIDv7 that begins so was drawn."""
    digits = beginning.replace("-", "")[:_TIME_DIGITS]
    first, last = (int(digits.ljust(_TIME_DIGITS, filler), 16) for filler in "0f")
    epoch = datetime.fromtimestamp(0, UTC)
    try:
        return epoch + timedelta(milliseconds=first) - _ABOUT, epoch + timedelta(milliseconds=last) + _ABOUT
    except OverflowError:
        # Beyond all time: it was not drawn.
        return epoch, epoch


def _among(requests: Requests, beginning: str, since: datetime, until: datetime) -> Iterator[str]:
    listed = requests.items.accepted(timestamp(since), timestamp(until))
    return (id_ for item in islice(listed, MOST) if (id_ := str(item[PARTITION_KEY])).startswith(beginning))
