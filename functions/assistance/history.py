"""A request and its record, as the API shows them to people and bots."""

from dataclasses import dataclass

from assistance.domain import record as domain
from assistance.domain.record import End, Handled, Kind, Outcome, Record, StandsInFor, Untaken
from assistance.models import AssistanceRequest, Fallback, Outgoing, Status
from assistance.platform.clock import timestamp_of
from assistance.routing import Channel


@dataclass(frozen=True, slots=True)
class Attempt:
    """One entry of a delivery's timeline.

    `outcome` is `sending`, `delivered`, `retrying`, `failed`, or `unknown` for one that ended without a word.
    `in_doubt` says that the provider may have taken the message although the attempt did not succeed.
    """

    at: str
    outcome: str
    error: str | None = None
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request on one channel, or one resend of it. Times are RFC 3339."""

    channel: Channel
    status: Status
    attempts: int
    resend: str | None = None
    """The operator's decision, if this is a resend."""
    escalation: bool = False
    """Whether it was sent because nobody had taken the request in time."""
    last_error: str | None = None
    first_attempt_at: str | None = None
    last_attempt_at: str | None = None
    next_attempt_at: str | None = None
    delivered_at: str | None = None
    confirmed_at: str | None = None
    failed_at: str | None = None
    claimed_until: str | None = None
    """While an attempt is under way, or has died: when its claim ends."""
    timeline: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request with all that has become of it.

    `caller` is the id of the API key that sent it; a request that an early version stored has none.
    """

    request: AssistanceRequest
    record: Record
    published_at: str | None
    unpublished: bool = False
    """Whether the request itself is in the outbox."""
    caller: str | None = None

    def is_for(self, caller: str) -> bool:
        """Whether the API may show it to the API key with that id."""
        return self.caller in {None, caller}

    @property
    def status(self) -> Status:
        """How far the request has come."""
        status = Status(self.record.status)
        return Status.PUBLISHED if status is Status.ACCEPTED and self.published_at else status

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of its route when it was accepted."""
        return tuple(map(Channel, self.record.channels))

    @property
    def in_outbox(self) -> bool:
        """Whether something of it is to be published to a human."""
        callbacks = {callback.name for callback in self.record.callbacks}
        return self.unpublished or any(entry.delivery not in callbacks for entry in self.record.outbox)

    @property
    def pending(self) -> tuple[Channel, ...]:
        """The channels on which the request is still on its way: none once it has ended."""
        return tuple(Channel(delivery.destination) for delivery in self.record.pending)

    @property
    def fallback(self) -> Fallback | None:
        """The fallback, if one is used, and the reason."""
        return next(filter(None, map(fallback_of, self.record.deliveries)), None)

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The deliveries to a human that have been tried, or put off."""
        unfinished = self.record.unfinished
        return tuple(
            _shown(delivery, dropped=delivery.kind is Kind.ESCALATION and delivery not in unfinished)
            for delivery in self.record.deliveries
            if delivery.kind is not Kind.CALLBACK and (delivery.attempts or delivery.waiting_for)
        )

    def delivery(self, channel: Channel) -> Delivery | None:
        """The delivery on that channel for which the status waits, once it has been attempted."""
        own = (each for each in self.deliveries if not (each.resend or each.escalation))
        return next((each for each in own if each.channel is channel), None)


def published_at(marked: str | None, record: Record) -> str | None:
    """When the request was published first. SNS is told before the table: a consumer may be quicker than the mark."""
    if marked is None:
        return None
    attempts = (attempt for delivery in record.deliveries for attempt in delivery.attempts)
    return min((marked, *(timestamp_of(attempt.at) for attempt in attempts)))


RESEND = "resend-"
"""With this begins the name of a resend; what follows is the operator's decision."""


def fallback_of(delivery: domain.Delivery) -> Fallback | None:
    """Why a delivery stands in for another, if it does."""
    if not isinstance(delivery.cause, StandsInFor):
        return None
    channel, failed = Channel(delivery.destination), Channel(delivery.cause.channel)
    return Fallback(channel=channel, failed_channel=failed, error=delivery.cause.error)


def resend_of(delivery: domain.Delivery) -> str | None:
    """The operator's decision to send the request once more, if that is what the delivery carries out."""
    return delivery.name.removeprefix(RESEND) if delivery.kind is Kind.RESEND else None


def untaken_of(delivery: domain.Delivery) -> Untaken | None:
    """How long nobody has taken the request, if it is delivered for that."""
    return delivery.cause if isinstance(delivery.cause, Untaken) else None


def outgoing_of(request: AssistanceRequest, delivery: domain.Delivery) -> Outgoing:
    """The content that the delivery sends, as far as the record knows it."""
    cause = delivery.cause
    return Outgoing(
        request,
        fallback=fallback_of(delivery),
        resend=resend_of(delivery),
        untaken=untaken_of(delivery),
        event=cause if isinstance(cause, End | Handled) else None,
        delivery=delivery.name,
    )


def _shown(delivery: domain.Delivery, *, dropped: bool = False) -> Delivery:
    """`dropped`: nobody tries it any more, because a human has taken the request."""
    attempts, final, ended_at = delivery.attempts, delivery.final, timestamp_of(delivery.final_at)
    taken = [attempt for attempt in attempts if attempt.outcome is Outcome.DELIVERED]
    errors = [attempt.error for attempt in attempts if attempt.error]
    under_way = attempts[-1] if delivery.is_under_way else None
    timeline = [entry for attempt in attempts for entry in _entries(attempt, under_way=attempt is under_way)]
    waits = final is None and not under_way and not dropped
    return Delivery(
        channel=Channel(delivery.destination),
        status=Status(final) if final else Status.SENDING if delivery.is_under_way else Status.RETRYING,
        attempts=sum(not attempt.found for attempt in attempts),
        resend=resend_of(delivery),
        escalation=delivery.kind is Kind.ESCALATION,
        last_error=delivery.waiting_for or (errors[-1] if errors else None),
        first_attempt_at=timeline[0].at if timeline else None,
        last_attempt_at=timeline[-1].at if timeline else None,
        next_attempt_at=_time(delivery.due_at) if waits else None,
        delivered_at=ended_at if final is Outcome.DELIVERED else None,
        confirmed_at=_time(taken[-1].confirmed_at) if taken else None,
        failed_at=ended_at if final is Outcome.FAILED else None,
        claimed_until=timestamp_of(delivery.locked_until) if delivery.is_under_way else None,
        timeline=tuple(timeline),
    )


def _entries(attempt: domain.Attempt, *, under_way: bool) -> list[Attempt]:
    at = timestamp_of(attempt.at)
    if attempt.outcome is Outcome.UNKNOWN:
        # An attempt that was killed has written no outcome, and may have reached the provider.
        return [Attempt(at, "sending") if under_way else Attempt(at, "unknown", in_doubt=True)]
    if attempt.returned_at is None:
        return [Attempt(at, attempt.outcome, attempt.error, attempt.in_doubt)]
    return [Attempt(at, attempt.outcome), Attempt(timestamp_of(attempt.returned_at), "failed", attempt.error)]


def _time(ms: int | None) -> str | None:
    return None if ms is None else timestamp_of(ms)
