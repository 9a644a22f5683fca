"""The record of a request: frozen values that hold its history, and properties that derive its state.

A record holds deliveries, and a delivery holds its attempts. Some state is not stored: properties compute the request's
status, the attempts in doubt, and the number of attempts used. Only the functions in `transitions.py` and `takes.py`
change a record. Times are milliseconds since 1970.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_TAKES: Final = 50
"""After so many takes only an operator can release a request. Otherwise a script with a take link could make the
record, which holds each take and its callbacks, too large for DynamoDB: nothing more could be recorded then."""


class Status(StrEnum):
    """The status of a request or of a delivery, in the order of progress."""

    ACCEPTED = "accepted"
    PUBLISHED = "published"  # the record does not know it: see `status_shown`
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(StrEnum):
    """How an attempt ended. `UNKNOWN`: it has not ended, or its Lambda process died before it wrote the outcome."""

    UNKNOWN = "unknown"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"


class Kind(StrEnum):
    """Why a delivery exists."""

    OWN = "own"
    """A delivery to a channel that the request's route names."""
    FALLBACK = "fallback"
    """A delivery to the fallback, because delivery on one of the route's channels has failed."""
    RESEND = "resend"
    """A delivery by which an operator sends the request once more."""
    CALLBACK = "callback"
    """A delivery to the bot, which wants to be told of the request's final status, takes and releases."""
    ESCALATION = "escalation"
    """A delivery to the fallback, because nobody has taken the request in time."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a delivery. If `found`, no consumer made it: it notes a dead letter, or that a human has acted."""

    id: str  # never reused, so a Lambda process recognises its own attempt even if the answer to its write was lost
    at: int  # when it started
    outcome: Outcome = Outcome.UNKNOWN
    place: str | None = None  # where on the channel it posts, such as a Slack channel's id
    error: str | None = None  # the code of its failure
    in_doubt: bool = False  # True if the provider may have taken the message although the attempt did not succeed
    ended_at: int | None = None  # when its outcome was recorded
    result: str | None = None  # the provider's id of the message
    # When SES reported that a mail which it had taken bounced, was rejected or drew a complaint. `error`: the reason.
    returned_at: int | None = None
    confirmed_at: int | None = None  # when the recipient's mail server took the mail
    # True if no consumer made this attempt. It then records that the reconciler found the message in a dead-letter
    # queue (outcome `FAILED`), or that a human acted on the message (`DELIVERED`).
    found: bool = False

    @property
    def lasting(self) -> Outcome:
        """The outcome that counts: `FAILED` for a mail that SES took and that bounced, say; else `outcome`."""
        return self.outcome if self.returned_at is None else Outcome.FAILED

    @property
    def may_have_arrived(self) -> bool:
        """Whether the provider may have taken the message although the attempt is not recorded as delivered."""
        return self.in_doubt or self.outcome is Outcome.UNKNOWN


@dataclass(frozen=True, slots=True)
class StandsInFor:
    """Why a fallback is sent: delivery on `channel` failed, with the error code `error`."""

    channel: str
    error: str


@dataclass(frozen=True, slots=True)
class End:
    """The content of a callback: the request's final status, and since when the request has it."""

    status: Status
    at: int


@dataclass(frozen=True, slots=True)
class Take:
    """A human's take of the request: by whom, where and when, and when it was released, if it was."""

    id: str  # never reused, so a write that the SDK repeats is recognised
    by: str  # the name that other humans see
    via: str  # where it was taken (slack, email, …)
    at: int
    released_at: int | None = None  # None while the take is in force


class Handling(StrEnum):
    """What a human did with the request."""

    TAKEN = "taken"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Handled:
    """The content of a callback: who took or released the request, when, and the request's status at that time."""

    how: Handling
    by: str
    via: str
    status: Status
    at: int


@dataclass(frozen=True, slots=True)
class Untaken:
    """Why an escalation is sent: nobody took the request within `minutes` minutes of its acceptance."""

    minutes: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """The sending of one request to one destination, or one resend of it.

    The consumer gives up after a limited number of attempts, the budget. A redrive starts a new budget. So does
    `wanted_since`: the time when the delivery last became necessary (0 for a request's own channel, and for a delivery
    that an earlier version has added). An attempt that was put off, by a rate limit, say, does not count. In that case
    `waiting_for` is the error code, and `put_off_at` is when an attempt of the present budget was first put off.
    `limited_at` is the time since which attempts have only been put off. If an attempt comes more than 15 minutes late,
    `claim` moves that time on by the rest of the delay.
    """

    name: str  # unique within the record; the messages that ask for this delivery contain it
    destination: str
    kind: Kind
    # Why it is sent, or what a callback reports. None for a request's own channel and for a resend.
    cause: StandsInFor | End | Handled | Untaken | None = None
    attempts: tuple[Attempt, ...] = ()
    locked_until: int = 0  # no new attempt before: one may still be running, or its message may still arrive
    due_at: int | None = None  # when the next attempt is due
    waiting_for: str | None = None
    put_off_at: int = 0
    limited_at: int = 0
    alone: bool = False  # True if it goes in a message of its own, because one with other requests was refused
    wanted_since: int = 0

    @property
    def final(self) -> Outcome | None:
        """The final status: `DELIVERED` if an attempt delivered, else `FAILED` if one failed for good, else None."""
        outcomes = [attempt.lasting for attempt in self.attempts]
        if Outcome.DELIVERED in outcomes:
            return Outcome.DELIVERED
        return Outcome.FAILED if Outcome.FAILED in outcomes else None

    @property
    def attempts_used(self) -> int:
        """How many attempts count towards the limit: those since `wanted_since`, and after the last final outcome."""
        for used, attempt in enumerate(reversed(self.attempts)):
            if attempt.outcome in {Outcome.DELIVERED, Outcome.FAILED} or attempt.at < self.wanted_since:
                return used
        return len(self.attempts)

    @property
    def put_off_since(self) -> int | None:
        """Since when refusals, by a rate limit, say, delay the delivery. None if none has since `wanted_since`."""
        return self.put_off_at if self._is_of_this_budget(self.put_off_at) else None

    @property
    def limited_since(self) -> int | None:
        """As `put_off_since`, but later if attempts came late. None if another failure followed the last refusal."""
        return self.limited_at if self._is_of_this_budget(self.limited_at) else None

    @property
    def doubts(self) -> tuple[Attempt, ...]:
        """The attempts whose message may have arrived, except those before an attempt that delivered."""
        found: list[Attempt] = []
        for attempt in self.attempts:
            if attempt.outcome is Outcome.DELIVERED:
                found = []
            elif attempt.may_have_arrived:
                found.append(attempt)
        return tuple(found)

    @property
    def is_under_way(self) -> bool:
        """Whether the last attempt has neither outcome nor end: it is running, or its Lambda process died.

        An attempt that died gets an end if, after its claim has expired, the delivery is published again or cancelled.
        """
        last = self.attempts[-1] if self.attempts else None
        return last is not None and last.outcome is Outcome.UNKNOWN and last.ended_at is None

    @property
    def expected_at(self) -> int | None:
        """When the claim of the attempt under way ends. If none is under way: when the next attempt is due, or None."""
        return self.locked_until if self.is_under_way else self.due_at

    @property
    def final_at(self) -> int:
        """When the delivery got its final status. 0 if it has none."""
        ends = (each.returned_at or each.ended_at or each.at for each in self.attempts if each.lasting is self.final)
        return max(ends, default=0)

    def _is_of_this_budget(self, put_off_at: int) -> bool:
        return put_off_at > self.final_at and put_off_at >= self.wanted_since

    def holds(self, attempt: str) -> bool:
        """Whether the attempt with that id holds the claim of this delivery."""
        return self.is_under_way and self.attempts[-1].id == attempt

    def is_locked(self, now: int) -> bool:
        """Whether no attempt may claim the delivery now: one may still run, or its message may still arrive."""
        return self.locked_until > now


@dataclass(frozen=True, slots=True)
class Entry:
    """An outbox entry: the message of a delivery must be published."""

    delivery: str  # its name
    since: int  # when the entry was added; distinguishes it from a later one of the same delivery


@dataclass(frozen=True, slots=True)
class Record:
    """The deliveries, takes and outbox entries of one request.

    `topic` to `calls_back` are as they were when the API accepted the request: routes and retention may change later,
    and after the request has expired, its id may be used again.
    """

    topic: str
    created_at: int
    ttl: int  # when it expires, in seconds since 1970
    channels: tuple[str, ...]
    fallback: str | None = None
    calls_back: bool = False  # True if the bot wants callbacks
    # When it goes to its fallback unless a human has taken it. None once the reconciler has decided that.
    escalate_at: int | None = None
    watched: bool = False  # True if the reconciler checks the request until it is finished
    deliveries: tuple[Delivery, ...] = ()
    takes: tuple[Take, ...] = ()
    outbox: tuple[Entry, ...] = ()
    erased_at: int | None = None  # when an operator erased the customer's texts: after that, the request is not sent
    version: int = 0  # the number of writes, which the store counts

    @property
    def status(self) -> Status:
        """The request's status.

        `delivered`: the request has arrived on each channel of its route, or its fallback was used and has arrived.
        `failed`: delivery on a channel or on the fallback has failed, and the request is not `delivered`. So the status
        is `failed` also while the fallback or a redrive is on its way.
        """
        if all(self.reached(channel) for channel in self.channels):
            return Status.DELIVERED
        mine = self.of_request
        if any(delivery.kind is Kind.FALLBACK and self.reached(delivery.destination) for delivery in mine):
            return Status.DELIVERED
        if any(attempt.lasting is Outcome.FAILED for delivery in mine for attempt in delivery.attempts):
            return Status.FAILED
        if any(delivery.waiting_for or _retries(delivery) for delivery in mine):
            return Status.RETRYING
        return Status.SENDING if any(delivery.attempts for delivery in mine) else Status.ACCEPTED

    def status_shown(self, *, published: bool) -> Status:
        """The status that bots and people see. `published`: whether SNS has accepted the request's own message."""
        return Status.PUBLISHED if published and self.status is Status.ACCEPTED else self.status

    @property
    def of_request(self) -> tuple[Delivery, ...]:
        """The deliveries on which the request's status depends: those on its route's channels, and its fallback."""
        return tuple(delivery for delivery in self.deliveries if delivery.kind in {Kind.OWN, Kind.FALLBACK})

    @property
    def callbacks(self) -> tuple[Delivery, ...]:
        """The callbacks: one for each final status, take and release, in the order in which these happened."""
        return tuple(delivery for delivery in self.deliveries if delivery.kind is Kind.CALLBACK)

    @property
    def taken(self) -> Take | None:
        """The take of the human who has the request now. None if nobody has it."""
        last = self.takes[-1] if self.takes else None
        return last if last and last.released_at is None else None

    @property
    def is_released_too_often(self) -> bool:
        """Whether only an operator may release the request from now on."""
        return len(self.takes) >= MAX_TAKES

    @property
    def wants_escalation(self) -> bool:
        """Whether the request is delivered, not taken and not erased, and has not arrived on the fallback's channel."""
        return (
            self.erased_at is None
            and self.taken is None
            and self.status is Status.DELIVERED
            and not self.reached(self.fallback)
        )

    @property
    def decides_at(self) -> int | None:
        """When the reconciler decides whether to escalate. None if it need not: the request is taken, for instance."""
        return self.escalate_at if self.taken is None and self.status is Status.DELIVERED else None

    @property
    def wants_fallback(self) -> bool:
        """Whether a channel failed, and the unerased request arrived neither there nor on the fallback's channel."""
        return self.erased_at is None and not self.reached(self.fallback) and bool(self.unreached)

    @property
    def unreached(self) -> tuple[Delivery, ...]:
        """The failed deliveries on the request's own channels, except on channels where a resend has arrived."""
        return tuple(
            delivery
            for delivery in self.deliveries
            if delivery.kind is Kind.OWN and delivery.final is Outcome.FAILED and not self.reached(delivery.destination)
        )

    @property
    def pending(self) -> tuple[Delivery, ...]:
        """The unfinished deliveries on which the request's status depends. Empty if the request is delivered."""
        if self.status is Status.DELIVERED:
            return ()
        return tuple(
            delivery
            for delivery in self.of_request
            if delivery.final is None and (delivery.kind is Kind.OWN or self.wants_fallback)
        )

    @property
    def has_ended(self) -> bool:
        """Whether the request has its final status, which only a bounce or a person's action can change."""
        return not self.pending

    @property
    def unfinished(self) -> tuple[Delivery, ...]:
        """All deliveries to humans that must still be made: `pending`, resends, and an escalation if still needed."""
        kinds = {Kind.RESEND, Kind.ESCALATION} if self.wants_escalation else {Kind.RESEND}
        return (*self.pending, *(each for each in self.deliveries if each.kind in kinds and each.final is None))

    @property
    def awaited(self) -> tuple[Delivery, ...]:
        """All deliveries that must still be made: `unfinished`, and the latest callbacks."""
        latest = (each for each in self.callbacks if each is self.series_of(each)[-1])
        return (*self.unfinished, *(each for each in latest if each.final is None))

    @property
    def due_at(self) -> int | None:
        """When the reconciler must check the request next. None if it need not."""
        if not self.watched:
            return None
        times = [delivery.expected_at or self.created_at for delivery in self.awaited]
        return min(times, default=self.decides_at)

    @property
    def end(self) -> End | None:
        """The request's final status, and since when the request has it. None if the request has no final status."""
        times = [delivery.final_at for delivery in self.of_request if delivery.final]
        return End(self.status, max(times)) if self.has_ended else None

    def reached(self, channel: str | None) -> bool:
        """Whether the request has arrived on that channel, by any delivery: own, fallback, escalation or resend."""
        return any(
            delivery.destination == channel and delivery.final is Outcome.DELIVERED for delivery in self.deliveries
        )

    def sent_as(self, result: str) -> tuple[Delivery, Attempt] | None:
        """The delivery, and its attempt, whose message has this id at the provider. None if there is none."""
        attempts = ((delivery, attempt) for delivery in self.deliveries for attempt in delivery.attempts)
        return next((found for found in attempts if found[1].result == result), None)

    def series_of(self, callback: Delivery) -> tuple[Delivery, ...]:
        """The callbacks of `callback`'s kind: about final statuses, or about takes and releases. The latest is last."""
        of_takes = isinstance(callback.cause, Handled)
        return tuple(each for each in self.callbacks if isinstance(each.cause, Handled) is of_takes)

    def delivery(self, name: str | None) -> Delivery | None:
        """The delivery of that name; None if there is none."""
        return next((delivery for delivery in self.deliveries if delivery.name == name), None)


def _retries(delivery: Delivery) -> bool:
    return bool(delivery.attempts) and delivery.attempts[-1].outcome is Outcome.RETRYING
