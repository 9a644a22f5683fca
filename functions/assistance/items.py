"""What the table's items hold. Each is checked as it is read: whoever may write into the table could write anything."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from assistance import dynamodb, tracing
from assistance.clock import epoch_s, timestamp
from assistance.errors import Unreadable
from assistance.models import (
    AssistanceRequest,
    Attempt,
    Delivery,
    Fallback,
    Message,
    Moment,
    OutboxEntry,
    RequestRecord,
    Status,
)
from assistance.routing import CALLBACK, Channel
from assistance.schema import (
    CREATED_AT,
    DELIVERY_PREFIX,
    OUTBOX_SHARD,
    PARTITION_KEY,
    REQUEST,
    SORT_KEY,
    TOPIC,
    TRACE,
    TTL,
)

Item: TypeAlias = Mapping[str, Any]

# Year 9999: later is no time.
_MAX_SECONDS = 253_402_300_799
Seconds = Annotated[int, Field(ge=0, le=_MAX_SECONDS)]
Milliseconds = Annotated[int, Field(ge=0, le=_MAX_SECONDS * 1_000)]
Channels = Annotated[tuple[Channel, ...], Field(min_length=1)]


def _of_a_delivery(sort_key: object) -> object:
    if not (isinstance(sort_key, str) and sort_key.startswith(DELIVERY_PREFIX)):
        raise ValueError("no delivery's key")
    return sort_key.removeprefix(DELIVERY_PREFIX)


class ItemModel(BaseModel):
    """Attributes of an item, as far as they are read. Others are no concern of this version's."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)


_Read = TypeVar("_Read", bound=BaseModel)


def checked(model: type[_Read], item: Item) -> _Read:
    """The attributes that the model names. Raises `Unreadable`, which names those that are wrong."""
    try:
        return model.model_validate(item)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        # Of where in an attribute it is wrong nothing is said: a map's keys may be anything.
        wrong = {f"{next(iter(detail['loc']), 'item')}: {detail['type']}" for detail in details}
        raise Unreadable(", ".join(sorted(wrong))) from None


class _Accepted(ItemModel):
    channels: Channels
    published_at: Moment | None = None
    fallback: Fallback | None = None
    caller: str | None = None


class _Entry(ItemModel):
    outbox_channels: Channels
    outbox_since: Moment | None = None
    fallback: Fallback | None = None


class _Said(ItemModel):
    """What has been said of a delivery."""

    status: Literal[Status.SENDING, Status.RETRYING, Status.DELIVERED, Status.FAILED]
    delivered_at: Moment | None = None
    failed_at: Moment | None = None

    @model_validator(mode="after")
    def _ended_at_some_time(self) -> Self:
        ends = {Status.DELIVERED: self.delivered_at, Status.FAILED: self.failed_at}
        if ends.get(self.status, "") is None:
            raise ValueError("an end has its time")
        return self

    @property
    def for_good(self) -> Status | None:
        """An attempt under way since does not take it back."""
        if self.status in {Status.DELIVERED, Status.FAILED}:
            return self.status
        if not (self.delivered_at or self.failed_at):
            return None
        return Status.FAILED if (self.failed_at or "") > (self.delivered_at or "") else Status.DELIVERED


class _End(_Said):
    channel: Annotated[Channel, BeforeValidator(_of_a_delivery), Field(alias=SORT_KEY)]
    outbox_since: Moment


class _Attempt(ItemModel):
    at: Moment
    outcome: str | None = None
    error: str | None = None
    in_doubt: bool | None = None
    forced: bool = False


class _Delivery(_Said):
    channel: Annotated[Channel, BeforeValidator(_of_a_delivery), Field(alias=SORT_KEY)]
    attempts: Annotated[int, Field(ge=0)] = 0
    last_error: str | None = None
    next_attempt_at: Moment | None = None
    confirmed_at: Moment | None = None
    claim_expires_at: Milliseconds | None = None
    timeline: tuple[_Attempt, ...] = ()


def key_of(item: Item) -> dict[str, str]:
    """Where an item is that can't be read: all that is said of it in a log."""
    return {name: str(item.get(name)) for name in (PARTITION_KEY, SORT_KEY)}


def plain(item: Item) -> Item:
    """An item out of DynamoDB's own notation, in which stream records and failed conditions carry it.

    Raises `Unreadable`.
    """
    try:
        return {name: dynamodb.plain(value) for name, value in item.items()}
    except (TypeError, ValueError):
        raise Unreadable("not in DynamoDB's notation") from None


def request_of(item: Item) -> AssistanceRequest:
    """The request that a request item holds. Raises `Unreadable`."""
    names = {"id": PARTITION_KEY, "topic": TOPIC, "created_at": CREATED_AT}
    members = {member: item.get(names.get(member, member)) for member in AssistanceRequest.model_fields}
    return checked(AssistanceRequest, members)


def message_for(item: Item, channel: Channel) -> Message:
    """The message that brought a request to that channel, from its request item, in the outbox or not.

    Raises `Unreadable`.
    """
    fallback = checked(_Accepted, item).fallback
    return Message(request=request_of(item), fallback=fallback if fallback and fallback.channel is channel else None)


def channels_of(item: Item) -> tuple[Channel, ...]:
    """Those of a request's route when it was accepted. Raises `Unreadable`."""
    return checked(_Accepted, item).channels


def outbox_entry_of(item: Item) -> OutboxEntry:
    """The entry that an item in the outbox is. Raises `Unreadable`."""
    if item.get(SORT_KEY) != REQUEST:
        # A delivery's end: the callback says no more of the request than its bot knows.
        end = checked(_End, item)
        request = request_of({**item, "description": ""})
        if end.for_good is None:
            raise Unreadable("an end that is none")
        return OutboxEntry(request, (CALLBACK,), ended=end.channel, ended_as=end.for_good, since=end.outbox_since)
    entry = checked(_Entry, item)
    return OutboxEntry(
        request_of(item),
        entry.outbox_channels,
        entry.fallback if entry.fallback and entry.fallback.channel in entry.outbox_channels else None,
        tracing.valid(item.get(TRACE)),
        since=entry.outbox_since,
    )


def outlived(item: Item, created_at: str) -> bool:
    """Whether it is of a request that had the same id, and was forgotten before this one was accepted.

    DynamoDB forgets items one by one, in no order and within days:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
    """
    ttl = item.get(TTL)
    return isinstance(ttl, int | Decimal) and ttl < epoch_s(created_at)


def settled(item: Item) -> Status | None:
    """What has been said for good about a delivery. Raises `Unreadable`."""
    return checked(_Said, item).for_good


def delivery_of(item: Item) -> Delivery:
    """The delivery that a delivery item holds. Raises `Unreadable`."""
    read = checked(_Delivery, item)
    status = read.for_good or Status(read.status)
    timeline = _timeline(read)
    claimed_until = read.claim_expires_at if read.status is Status.SENDING else None
    return Delivery(
        channel=read.channel,
        status=status,
        attempts=read.attempts,
        last_error=read.last_error,
        first_attempt_at=timeline[0].at if timeline else None,
        last_attempt_at=timeline[-1].at if timeline else None,
        next_attempt_at=read.next_attempt_at,
        delivered_at=read.delivered_at,
        confirmed_at=read.confirmed_at,
        failed_at=read.failed_at if status is Status.FAILED else None,
        claimed_until=timestamp(datetime.fromtimestamp(claimed_until / 1000, UTC)) if claimed_until else None,
        timeline=timeline,
        has_failed=read.failed_at is not None,
    )


def _timeline(read: _Delivery) -> tuple[Attempt, ...]:
    attempts = []
    for number, entry in enumerate(read.timeline, 1):
        under_way = number == len(read.timeline) and read.status is Status.SENDING
        # An attempt that was killed has written no outcome, and may have reached the provider.
        outcome = entry.outcome or (Status.SENDING if under_way else "unknown")
        in_doubt = outcome == "unknown" if entry.in_doubt is None else entry.in_doubt
        attempts.append(Attempt(entry.at, str(outcome), entry.error, in_doubt=in_doubt, forced=entry.forced))
    return tuple(attempts)


def record_of(items: Sequence[Item]) -> RequestRecord | None:
    """A request with all that has become of it, from all its items; None if there is none. Raises `Unreadable`."""
    item = next((item for item in items if item[SORT_KEY] == REQUEST), None)
    if item is None:
        return None
    request, accepted = request_of(item), checked(_Accepted, item)
    return RequestRecord(
        request=request,
        channels=accepted.channels,
        published_at=accepted.published_at,
        deliveries=tuple(
            delivery_of(each)
            for each in items
            if str(each[SORT_KEY]).startswith(DELIVERY_PREFIX) and not outlived(each, request.created_at)
        ),
        in_outbox=OUTBOX_SHARD in item,
        fallback=accepted.fallback,
        caller=accepted.caller,
    )
