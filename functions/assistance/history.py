"""A request and its record, in the form in which the API, the command line and the console show them."""

from dataclasses import dataclass
from operator import attrgetter

from assistance.domain import record as domain
from assistance.domain.record import Kind, Outcome, Record, StandsInFor, Status
from assistance.models import AssistanceRequest, Fallback
from assistance.platform.clock import timestamp_of
from assistance.routing import Channel


@dataclass(frozen=True, slots=True)
class Attempt:
    """One entry of a delivery's timeline.

    `outcome` is `sending`, `delivered`, `retrying`, `failed`, or `unknown` for an attempt that died before it recorded
    its outcome. `in_doubt`: True if the provider may have taken the message although the attempt did not succeed.
    """

    at: str
    outcome: str
    error: str | None = None
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as it is shown: of one request on one channel, or one resend of it. Times are RFC 3339."""

    channel: Channel
    status: Status
    attempts: int
    resend: str | None = None  # the id of the operator's resend, if it is one
    escalation: bool = False  # True if it is sent because nobody had taken the request in time
    last_error: str | None = None
    first_attempt_at: str | None = None
    last_attempt_at: str | None = None
    next_attempt_at: str | None = None
    delivered_at: str | None = None
    confirmed_at: str | None = None
    failed_at: str | None = None
    claimed_until: str | None = None  # when the claim of the running attempt ends; one that died counts as running
    timeline: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request with its record: its deliveries, attempts and takes."""

    request: AssistanceRequest
    record: Record
    published_at: str | None  # when it was first published, if it was
    unpublished: bool = False  # True if the request itself still has to be published: its item is in the outbox
    caller: str | None = None  # the id of the API key with which it was sent; None if an early version stored it

    def is_for(self, caller: str) -> bool:
        """Whether the API may show the request to a caller whose API key has that id."""
        return self.caller in {None, caller}

    @property
    def status(self) -> Status:
        """The request's status: `published` if it has been published and no attempt has begun."""
        return self.record.status_shown(published=self.published_at is not None)

    @property
    def fallback(self) -> Fallback | None:
        """The fallback's channel and why it is used. None if it is not used."""
        for delivery in self.record.deliveries:
            if isinstance(cause := delivery.cause, StandsInFor):
                channel, failed = Channel(delivery.destination), Channel(cause.channel)
                return Fallback(channel=channel, failed_channel=failed, error=cause.error)
        return None

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The deliveries to humans that have an attempt, or that a rate limit has delayed."""
        unfinished, stops_early = self.record.unfinished, {Kind.FALLBACK, Kind.ESCALATION}
        return tuple(
            _shown(delivery, dropped=delivery.kind in stops_early and delivery not in unfinished)
            for delivery in self.record.deliveries
            if delivery.kind is not Kind.CALLBACK and (delivery.attempts or delivery.waiting_for)
        )


def published_at(marked: str | None, record: Record) -> str | None:
    """The first publication's time: `marked` or, if that is earlier, the first attempt's. None if `marked` is None."""
    if marked is None:
        return None
    attempts = (attempt for delivery in record.deliveries for attempt in delivery.attempts)
    return min((marked, *(timestamp_of(attempt.at) for attempt in attempts)))


RESEND = "resend-"
"""The name of a resend's delivery begins with this. The rest is the id that the operator's command has made for it."""


def _shown(delivery: domain.Delivery, *, dropped: bool = False) -> Delivery:
    """The delivery, in the form that is shown. `dropped`: nobody needs it any more, so no attempt follows."""
    attempts, final, ended_at = delivery.attempts, delivery.final, timestamp_of(delivery.final_at)
    taken = [attempt for attempt in attempts if attempt.outcome is Outcome.DELIVERED]
    errors = [attempt.error for attempt in attempts if attempt.error]
    under_way = attempts[-1] if delivery.is_under_way else None
    entries = [entry for attempt in attempts for entry in _entries(attempt, under_way=attempt is under_way)]
    # The record lists the attempt that delivered last, even if another one began before its answer came.
    timeline = sorted(entries, key=attrgetter("at"))
    waits = final is None and not under_way and not dropped
    return Delivery(
        channel=Channel(delivery.destination),
        status=Status(final) if final else Status.SENDING if delivery.is_under_way else Status.RETRYING,
        attempts=sum(not attempt.found for attempt in attempts),
        resend=delivery.name.removeprefix(RESEND) if delivery.kind is Kind.RESEND else None,
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
