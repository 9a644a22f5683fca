"""What the ledger holds, and how the table keeps it."""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from assistance.aws import AWS_ERRORS, error_code
from assistance.errors import TableUnavailable, Unreadable
from assistance.ids import RequestId
from assistance.items import ItemModel, checked, key_of
from assistance.models import Moment
from assistance.observability import logger
from assistance.requests import Requests
from assistance.schema import LEDGER, PARTITION_KEY, REOPENED_PREFIX, SORT_KEY

LEDGER_KEY: Final = {PARTITION_KEY: LEDGER, SORT_KEY: LEDGER}
FORGOTTEN: Final = "forgotten"
MAX_OPEN: Final = 1_000
_COUNTS: Final = ("accepted", "ended", "deliveries")


@dataclass(slots=True)
class Balance:
    """What the ledger holds: `accepted` = `ended` + `open`.

    `until`: everything accepted before then has been looked at. `open` maps the id of a request that has not ended to
    the time at which it was accepted. `accepted` counts by topic, `ended` by `topic/status`, or as `forgotten` what its
    `ttl` ended, and `deliveries` those of the ended requests, by `topic/channel/status`: as they first ended, whatever
    is redriven later. `reopened` maps the id of a request that is on its way again to the time since when it is.
    `unreadable` counts the items of the ledger that could not be read.
    """

    until: str = ""
    open: dict[str, str] = field(default_factory=dict)
    accepted: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    deliveries: Counter[str] = field(default_factory=Counter)
    reopened: dict[str, str] = field(default_factory=dict)
    unreadable: int = 0

    @property
    def on_their_way(self) -> dict[str, str]:
        """What is to be looked at, by id, and since when it is on its way."""
        return self.reopened | self.open

    @property
    def full(self) -> bool:
        """Whether nothing more is to be taken in."""
        return len(self.on_their_way) >= MAX_OPEN

    def item(self) -> dict[str, Any]:
        """The ledger's item, which keeps it."""
        counts = {name: dict(getattr(self, name)) for name in _COUNTS}
        return {**LEDGER_KEY, "until": self.until, "open": self.open, **counts}

    def document(self) -> dict[str, Any]:
        """The balance as JSON has it."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def balance_of(requests: Requests) -> Balance:
    """The balance as the last sweep left it. Raises `TableUnavailable`."""
    try:
        items: list[Any] = requests.table.query(
            KeyConditionExpression=f"{PARTITION_KEY} = :ledger",
            ExpressionAttributeValues={":ledger": LEDGER},
            ConsistentRead=True,
            Limit=1 + MAX_OPEN,
        )["Items"]
    except AWS_ERRORS as error:
        raise TableUnavailable(error_code(error)) from error
    balance = Balance()
    for item in items:
        try:
            if item[SORT_KEY] == LEDGER:
                kept = checked(_Kept, item)
                balance.until, balance.open = kept.until, dict(kept.open)
                for name in _COUNTS:
                    getattr(balance, name).update(getattr(kept, name))
            else:
                reopened = checked(_Reopened, item)
                balance.reopened[reopened.request_id] = reopened.reopened_at
        except Unreadable as error:
            # Without its item the ledger begins anew: it looks at every request once more, and counts it once.
            balance.unreadable += 1
            logger.error("an item of the ledger can't be read", key=key_of(item), wrong=str(error))
    return balance


def _of_a_request(sort_key: object) -> object:
    if not (isinstance(sort_key, str) and sort_key.startswith(REOPENED_PREFIX)):
        raise ValueError("no key of what is reopened")
    return sort_key.removeprefix(REOPENED_PREFIX)


class _Kept(ItemModel):
    """The ledger's item."""

    until: Moment
    open: dict[RequestId, Moment]
    accepted: dict[str, int]
    ended: dict[str, int]
    deliveries: dict[str, int]


class _Reopened(ItemModel):
    request_id: Annotated[RequestId, BeforeValidator(_of_a_request), Field(alias=SORT_KEY)]
    reopened_at: Moment
