"""Reads the items and messages of version 1, which stored one item for each channel's delivery.

Reading a request turns such items into a record. The first change of the request writes that record.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Final, NamedTuple

from pydantic import Field, Json

from assistance.domain.record import Attempt, Delivery, Kind, Outcome, Record, StandsInFor
from assistance.domain.transitions import FALLBACK, with_delivery
from assistance.errors import Unreadable
from assistance.history import RESEND
from assistance.ids import RequestId
from assistance.models import Channels, Fallback, Message, Model, Moment, Seconds
from assistance.platform.clock import ms_of, timestamp
from assistance.routing import CALLBACK, Channel, Destination
from assistance.store.items import Item, Milliseconds, checked, request_of
from assistance.store.mirror import CALLBACK_PREFIX, DELIVERY_PREFIX, timeline
from assistance.store.schema import SORT_KEY
from assistance.store.table import Items

REOPENED_PREFIX: Final = "REOPENED#"
"""The beginning of a sort key of version 1. The rest is the id of a finished request that is being sent again."""
_AHEAD: Final = timedelta(hours=6)


class _Attempt(Model):
    at: Moment
    outcome: Outcome = Outcome.UNKNOWN
    error: str | None = None
    in_doubt: bool = False
    forced: bool = False  # True if it belonged to a resend


class _Delivery(Model):
    sk: str
    ttl: Seconds
    status: Annotated[str, Field(pattern="^(sending|retrying|delivered|failed)$")]
    timeline: tuple[_Attempt, ...] = ()
    last_error: str | None = None
    delivered_at: Moment | None = None
    failed_at: Moment | None = None
    next_attempt_at: Moment | None = None
    confirmed_at: Moment | None = None
    result: Json[str | None] | None = None  # Powertools kept it as JSON
    claim_expires_at: Milliseconds = 0
    not_before: Milliseconds = 0
    refused_together: bool = False
    forced: frozenset[str] = frozenset()


class _FallenBack(Model):
    fallback: Fallback | None = None


class _Reopened(Model):
    id: RequestId


class _Ledger(Model):
    looked_until: Moment | None = None
    until: Moment | None = None
    open: Mapping[RequestId, Moment] = Field(default_factory=dict)


class Ledger(NamedTuple):
    """The progress in version 1's items, of version 1 itself or of this version."""

    until: str = ""  # the requests that were accepted before this time are checked
    ahead_until: str = ""  # version 1 will check no request that was accepted before this time
    open: tuple[str, ...] = ()  # the ids of the unfinished requests that version 1 has found


class _Outboxed(Model):
    sk: Annotated[str, Field(pattern=f"^{DELIVERY_PREFIX}")]
    status: Annotated[str, Field(pattern="^(sending|retrying|delivered|failed)$")]
    delivered_at: Moment | None = None
    failed_at: Moment | None = None
    outbox_since: Moment


class LegacyEntry(_FallenBack):
    """The outbox entry in a request item of version 1, for the channels of its route or for the fallback's channel."""

    outbox_channels: Channels
    outbox_since: Moment | None = None


def callback_of(item: Item) -> tuple[Message, str]:
    """The callback that version 1 put into the outbox at a delivery's end, and when it did so. Raises `Unreadable`."""
    kept = checked(_Outboxed, item)
    if not (kept.delivered_at or kept.failed_at):
        raise Unreadable("a callback without a final status")
    has_failed = (kept.failed_at or "") > (kept.delivered_at or "")
    ended = f"{kept.sk.removeprefix(DELIVERY_PREFIX)}#{Outcome.FAILED if has_failed else Outcome.DELIVERED}"
    request = request_of({**item, "description": ""})
    return Message(version=1, request=request, ended_at=kept.outbox_since, ended=ended), kept.outbox_since


def record_of(request_item: Item, items: list[Item], known: Record) -> Record:
    """The record `known`, plus the deliveries and attempts that version 1 has stored since this version wrote it.

    If this version has written no record, `known` is the record before any attempt. Raises `Unreadable`.
    """
    stands_in = checked(_FallenBack, request_item).fallback
    record = known
    if stands_in and record.delivery(FALLBACK) is None:
        record = replace(with_delivery(record, _fallback(stands_in)), fallback=str(stands_in.channel))
    for kept in [checked(_Delivery, item) for item in items if is_delivery(item)]:
        if kept.ttl < known.created_at // 1_000:
            # It expired before this request was accepted, so it belongs to an earlier request with the same id.
            continue
        for each in _deliveries(kept, record):
            if _is_further(kept, record.delivery(each.name)):
                record = with_delivery(record, each)
    for callback in record.callbacks:
        if callback.cause is None and callback.final is None and (end := record.end):
            # Version 1 did not store what its callbacks report. If this one gets lost, it can only be sent with that.
            record = with_delivery(record, replace(callback, cause=end))
    return record


def is_delivery(item: Item) -> bool:
    """Whether version 1 stored a delivery in this item. An item of an unknown channel does not count."""
    sort_key = str(item[SORT_KEY])
    return sort_key.startswith(CALLBACK_PREFIX) or sort_key in {f"{DELIVERY_PREFIX}{channel}" for channel in Channel}


def _is_further(kept: _Delivery, ours: Delivery | None) -> bool:
    """Whether version 1's item (`kept`) has more attempts than our delivery, or as many and more outcomes of them.

    An attempt of version 1 may have ended after this version wrote it into the record.
    """
    if ours is None or not (ours.attempts or ours.waiting_for):
        return True
    theirs, known = [each.outcome is not Outcome.UNKNOWN for each in kept.timeline], timeline(ours)
    has_more = (len(theirs), sum(theirs)) > (len(known), sum("outcome" in each for each in known))
    return ours.kind is not Kind.RESEND and has_more


def known_to(message: Message, destination: Destination, record: Record) -> tuple[Record, str]:
    """The record with the delivery that a message of version 1 asks for, and this delivery's name."""
    if message.ended_at:
        name = f"{CALLBACK}-{message.ended_at}" + (f"#{message.ended}" if message.ended else "")
        if record.end is None:
            # The request has no final status yet. A later version 1 message, of another channel, will report it.
            return record, name
        tried = record.delivery(name) or Delivery(name, CALLBACK, Kind.CALLBACK)
        # Version 1 did not store which status its callbacks had reported.
        return with_delivery(record, replace(tried, cause=tried.cause or record.end)), name
    if message.force:
        delivery = _resend(message.force, destination, record)
    elif message.fallback and message.fallback.channel == destination:
        delivery = _fallback(message.fallback)
        record = _with_failure(record, message.fallback)
    else:
        return record, str(destination)
    return (record if record.delivery(delivery.name) else with_delivery(record, delivery)), delivery.name


def _resend(force: str, destination: Destination, record: Record) -> Delivery:
    """The resend `force`. Any attempt in doubt may be its own: version 1 did not store which resend made an attempt."""
    resend = Delivery(f"{RESEND}{force}", destination, Kind.RESEND)
    others = next((each for each in record.deliveries if each.destination == destination), resend)
    doubts = tuple(each for each in others.attempts if each.may_have_arrived)
    since = max((1 + each.at for each in doubts), default=0)
    return replace(resend, attempts=doubts, locked_until=others.locked_until, wanted_since=since)


def _with_failure(record: Record, stands_in: Fallback) -> Record:
    """Add the failed attempt that led to this fallback, unless the failed channel's delivery has a final status."""
    own = record.delivery(str(stands_in.failed_channel))
    if own is None or own.final:
        return record
    at = record.created_at
    failed = Attempt("v1-failed", at, Outcome.FAILED, error=stands_in.error, ended_at=at, found=True)
    return with_delivery(record, replace(own, attempts=(*own.attempts, failed)))


def ledger_of(items: list[Item]) -> Ledger:
    """How far version 1 has checked new requests, or this version in its place. Raises `Unreadable`."""
    until, watched = "", list[str]()
    for item in items:
        if (sort_key := str(item[SORT_KEY])).startswith(REOPENED_PREFIX):
            watched.append(checked(_Reopened, {"id": sort_key.removeprefix(REOPENED_PREFIX)}).id)
            continue
        kept = checked(_Ledger, item)
        if kept.looked_until:
            return Ledger(kept.looked_until, kept.until or "")
        until, watched = kept.until or "", [*watched, *kept.open]
    return Ledger(until, "", tuple(watched))


def stay_ahead(items: Items, ledger: Ledger, looked_until: str, now: datetime) -> None:
    """Write into version 1's ledger that the next hours are checked, unless it says so for three more hours already.

    Otherwise, after a rollback, version 1 would publish again the requests that this version has accepted.
    """
    if ledger.ahead_until < timestamp(now + _AHEAD / 2):
        items.store_progress_for_version_1(looked_until, timestamp(now + _AHEAD))


def _fallback(stands_in: Fallback) -> Delivery:
    cause = StandsInFor(str(stands_in.failed_channel), stands_in.error)
    return Delivery(FALLBACK, str(stands_in.channel), Kind.FALLBACK, cause)


def _deliveries(kept: _Delivery, record: Record) -> list[Delivery]:
    attempts, fallback = _attempts(kept), record.delivery(FALLBACK)
    channel = kept.sk.removeprefix(DELIVERY_PREFIX)
    if kept.sk.startswith(CALLBACK_PREFIX):
        own = Delivery(f"{CALLBACK}-{kept.sk.removeprefix(CALLBACK_PREFIX)}", CALLBACK, Kind.CALLBACK)
    elif channel in record.channels:
        own = Delivery(channel, channel, Kind.OWN)
    elif fallback and fallback.destination == channel:
        own = fallback
    else:
        own = Delivery(f"{RESEND}v1-{channel}", channel, Kind.RESEND)
    own = replace(
        own,
        attempts=attempts,
        locked_until=kept.claim_expires_at if kept.status == "sending" else kept.not_before,
        due_at=_ms(kept.next_attempt_at),
        waiting_for=kept.last_error if kept.status == "retrying" and not attempts else None,
        alone=kept.refused_together,
    )
    # Add the resends that version 1 has delivered, so that this version does not send them again.
    done = [
        Delivery(f"{RESEND}{force}", own.destination, Kind.RESEND, attempts=attempts[-1:])
        for force in sorted(kept.forced)
        if attempts and attempts[-1].outcome is Outcome.DELIVERED
    ]
    return [own, *done]


def _attempts(kept: _Delivery) -> tuple[Attempt, ...]:
    """The attempts in version 1's timeline, completed from the other attributes of its item."""
    delivered_at, failed_at = _ms(kept.delivered_at), _ms(kept.failed_at)
    bounced_at = failed_at if (failed_at or 0) > (delivered_at or 0) else None
    attempts: list[Attempt] = []
    for number, entry in enumerate(kept.timeline):
        attempt = Attempt(f"v1-{number}", ms_of(entry.at), entry.outcome, error=entry.error, in_doubt=entry.in_doubt)
        later = kept.timeline[number + 1 :]
        if entry.outcome is Outcome.DELIVERED and any(each.outcome is Outcome.DELIVERED for each in later):
            # The item's other attributes are about the last mail. An earlier one was sent again, perhaps as it bounced.
            if bounce := next((each for each in later if each.outcome is Outcome.FAILED and not each.forced), None):
                attempt = replace(attempt, error=bounce.error, returned_at=ms_of(bounce.at))
        elif entry.outcome is Outcome.DELIVERED:
            attempt = replace(
                attempt,
                error=kept.last_error if bounced_at else None,
                ended_at=delivered_at,
                result=kept.result,
                returned_at=bounced_at,
                confirmed_at=_ms(kept.confirmed_at),
            )
        elif entry.outcome is Outcome.FAILED:
            attempt = replace(attempt, ended_at=failed_at)
        attempts.append(attempt)
    if any(attempt.returned_at for attempt in attempts):
        # Version 1 added a timeline entry for a bounce. Drop that entry: here the delivered attempt has `returned_at`.
        attempts = [attempt for attempt in attempts if attempt.outcome is not Outcome.FAILED or attempt.in_doubt]
    return tuple(attempts)


def _ms(moment: str | None) -> int | None:
    return ms_of(moment) if moment else None
