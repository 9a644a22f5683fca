"""The record of a request: frozen values that hold its history, and properties that derive its state.

A record holds deliveries, and a delivery holds its attempts. Progress is not stored: the request's status, a
delivery's doubts and the number of attempts used are derived here. `transitions.py` holds the only
functions that change a record. Times are milliseconds since 1970.
"""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """A request's status, in the order of its progress."""

    ACCEPTED = "accepted"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(StrEnum):
    """How an attempt ended. `UNKNOWN`: it is under way, or its worker died before it recorded the end."""

    UNKNOWN = "unknown"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"


class Kind(StrEnum):
    """Why a delivery exists."""

    OWN = "own"
    """The route names its channel."""
    FALLBACK = "fallback"
    """One of the route's channels has failed."""
    RESEND = "resend"
    """An operator has asked for it."""
    CALLBACK = "callback"
    """The bot has asked for callbacks."""
    ESCALATION = "escalation"
    """Nobody has taken the request in time."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a delivery.

    `id` is never reused: a worker recognises its own attempt by it, even if the answer to its write was lost. `place`
    is where the attempt posts on the channel, such as a Slack channel's id. `result` is the provider's id of the
    message. `in_doubt`: the provider may have taken the message although the attempt did not succeed. `returned_at`:
    when the provider reported that nobody received the message that it had taken; `error` then says why. `found`: this
    is no attempt, but the message, found in a dead-letter queue or seen by a human.
    """

    id: str
    at: int
    outcome: Outcome = Outcome.UNKNOWN
    place: str | None = None
    error: str | None = None
    in_doubt: bool = False
    ended_at: int | None = None
    result: str | None = None
    returned_at: int | None = None
    confirmed_at: int | None = None
    found: bool = False

    @property
    def is_final(self) -> bool:
        """Whether no further attempt follows by itself."""
        return self.outcome is Outcome.DELIVERED or self.outcome is Outcome.FAILED

    @property
    def lasting(self) -> Outcome:
        """The outcome that counts: a message that came back has failed."""
        return self.outcome if self.returned_at is None else Outcome.FAILED

    @property
    def may_have_arrived(self) -> bool:
        """Whether the provider may hold the message without our knowing."""
        return self.in_doubt or self.outcome is Outcome.UNKNOWN


@dataclass(frozen=True, slots=True)
class StandsInFor:
    """Why a fallback is sent: the channel that failed, and the code of the failure."""

    channel: str
    error: str


@dataclass(frozen=True, slots=True)
class End:
    """The content of a callback: the request's status, and when it reached it."""

    status: Status
    at: int


@dataclass(frozen=True, slots=True)
class Take:
    """A human handles the request. `by` is the name that other humans see, and `via` how that human took it.

    `id` is never reused: a repeated write is recognised by it.
    """

    id: str
    by: str
    via: str
    at: int
    released_at: int | None = None


class Handling(StrEnum):
    """A human's action on the request."""

    TAKEN = "taken"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Handled:
    """The content of a callback: that a human took or released the request, when, and the request's status then."""

    how: Handling
    by: str
    via: str
    status: Status
    at: int


@dataclass(frozen=True, slots=True)
class Untaken:
    """Why an escalation is sent: nobody took the request within so many minutes."""

    minutes: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request at one destination, or one resend of it.

    `name` is unique within the record, and every message of this delivery carries it. Nobody may claim the delivery
    before `locked_until`: an attempt is under way, or its message may still arrive. `due_at` is the time of the next
    attempt, `waiting_for` the code that put it off, and `put_off_at` when a budget was put off first. `alone`: the
    provider refused it as part of a batch, so it goes in a message of its own. `wanted_since`: when it was wanted last,
    so earlier attempts do not count; 0 if the request wanted it from the start, or if an earlier version has added it.
    """

    name: str
    destination: str
    kind: Kind
    cause: StandsInFor | End | Handled | Untaken | None = None
    attempts: tuple[Attempt, ...] = ()
    locked_until: int = 0
    due_at: int | None = None
    waiting_for: str | None = None
    put_off_at: int = 0
    alone: bool = False
    wanted_since: int = 0

    @property
    def final(self) -> Outcome | None:
        """`DELIVERED`, `FAILED`, or None while it is on its way. Does not depend on the order of late writes."""
        outcomes = {attempt.lasting for attempt in self.attempts}
        return next((final for final in (Outcome.DELIVERED, Outcome.FAILED) if final in outcomes), None)

    @property
    def attempts_used(self) -> int:
        """How many attempts of the present budget are used. A redrive starts a new one, and so does a new want."""
        for used, attempt in enumerate(reversed(self.attempts)):
            if attempt.is_final or attempt.at < self.wanted_since:
                return used
        return len(self.attempts)

    @property
    def put_off_since(self) -> int | None:
        """When the present budget of attempts was put off first. None if it was not."""
        counts = self.put_off_at > self.final_at and self.put_off_at >= self.wanted_since
        return self.put_off_at if counts else None

    @property
    def doubts(self) -> tuple[Attempt, ...]:
        """The attempts that may have arrived. An attempt known as delivered settles the doubts before it."""
        found: list[Attempt] = []
        for attempt in self.attempts:
            if attempt.outcome is Outcome.DELIVERED:
                found = []
            elif attempt.may_have_arrived:
                found.append(attempt)
        return tuple(found)

    @property
    def is_under_way(self) -> bool:
        """Whether an attempt has not ended: it is being made, or its worker died and nobody has claimed it since."""
        last = self.attempts[-1] if self.attempts else None
        return last is not None and last.outcome is Outcome.UNKNOWN and last.ended_at is None

    @property
    def expected_at(self) -> int | None:
        """When something should happen to it: the end of the claim, or the next attempt. None if nobody knows."""
        return self.locked_until if self.is_under_way else self.due_at

    @property
    def final_at(self) -> int:
        """When it got its final status. 0 if it has none."""
        ends = (each.returned_at or each.ended_at or each.at for each in self.attempts if each.lasting is self.final)
        return max(ends, default=0)

    def sent_as(self, result: str) -> Attempt | None:
        """The attempt whose message has this id at the provider."""
        return next((attempt for attempt in self.attempts if attempt.result == result), None)

    def holds(self, attempt: str) -> bool:
        """Whether that attempt has the claim."""
        return self.is_under_way and self.attempts[-1].id == attempt

    def is_locked(self, now: int) -> bool:
        """Whether nobody may claim it now."""
        return self.locked_until > now


@dataclass(frozen=True, slots=True)
class Entry:
    """An outbox entry: a delivery to publish. `since` distinguishes it from a later entry of the same delivery."""

    delivery: str
    since: int


@dataclass(frozen=True, slots=True)
class Record:
    """The history of one request.

    `topic`, `created_at`, `ttl` (in seconds since 1970), `channels`, `fallback` and `calls_back` keep the values from
    when the API accepted the request: routes and retention may change later, and an id may come again. `escalate_at`:
    when the request goes to its fallback unless a human has taken it; None once that was decided. `watched`: the
    reconciler looks at it until it has ended. `erased_at`: when what the request said was erased; nobody sends it since
    then. The store sets `version`.
    """

    topic: str
    created_at: int
    ttl: int
    channels: tuple[str, ...]
    fallback: str | None = None
    calls_back: bool = False
    escalate_at: int | None = None
    watched: bool = False
    deliveries: tuple[Delivery, ...] = ()
    takes: tuple[Take, ...] = ()
    outbox: tuple[Entry, ...] = ()
    erased_at: int | None = None
    version: int = 0

    @property
    def status(self) -> Status:
        """How far the request has come.

        It is delivered when each of its channels has it, or its fallback has. It has failed when a channel has failed
        and nothing has delivered instead; it then reads `failed` until it is delivered, whatever a redrive delivers.
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

    @property
    def of_request(self) -> tuple[Delivery, ...]:
        """The deliveries on which the request's status depends: those of its channels, and its fallback."""
        return tuple(delivery for delivery in self.deliveries if delivery.kind in {Kind.OWN, Kind.FALLBACK})

    @property
    def callbacks(self) -> tuple[Delivery, ...]:
        """The callbacks: one for each end, take and release, in the order in which these happened."""
        return tuple(delivery for delivery in self.deliveries if delivery.kind is Kind.CALLBACK)

    @property
    def taken(self) -> Take | None:
        """The take of the human who handles the request at present."""
        last = self.takes[-1] if self.takes else None
        return last if last and last.released_at is None else None

    @property
    def wants_escalation(self) -> bool:
        """Whether the request was delivered, nobody has taken it, and the fallback's channel does not have it."""
        return (
            self.erased_at is None
            and self.taken is None
            and self.status is Status.DELIVERED
            and not self.reached(self.fallback)
        )

    @property
    def decides_at(self) -> int | None:
        """When the reconciler decides whether to escalate. None if it has decided, or has nothing to decide now."""
        return self.escalate_at if self.taken is None and self.status is Status.DELIVERED else None

    @property
    def wants_fallback(self) -> bool:
        """Whether a channel of the request has failed, and nothing has been delivered there or on the fallback's."""
        return self.erased_at is None and not self.reached(self.fallback) and bool(self.unreached)

    @property
    def unreached(self) -> tuple[Delivery, ...]:
        """The failed deliveries of the request's channels, without channels on which a resend has delivered it."""
        return tuple(
            delivery
            for delivery in self.deliveries
            if delivery.kind is Kind.OWN and delivery.final is Outcome.FAILED and not self.reached(delivery.destination)
        )

    @property
    def pending(self) -> tuple[Delivery, ...]:
        """The deliveries of the request that are on their way: none once it is delivered."""
        if self.status is Status.DELIVERED:
            return ()
        return tuple(
            delivery
            for delivery in self.of_request
            if delivery.final is None and (delivery.kind is Kind.OWN or self.wants_fallback)
        )

    @property
    def has_ended(self) -> bool:
        """Whether the request stays as it is unless somebody acts."""
        return not self.pending

    @property
    def unfinished(self) -> tuple[Delivery, ...]:
        """The deliveries to a human that need a message: those of the request that are pending, and later ones."""
        kinds = {Kind.RESEND, Kind.ESCALATION} if self.wants_escalation else {Kind.RESEND}
        return (*self.pending, *(each for each in self.deliveries if each.kind in kinds and each.final is None))

    @property
    def due_at(self) -> int | None:
        """When the reconciler must check it, at the earliest. None if it need not."""
        if not self.watched:
            return None
        times = [delivery.expected_at or self.created_at for delivery in self.unfinished]
        return min(times, default=self.decides_at)

    @property
    def end(self) -> End | None:
        """How the request has ended, and when it got there. None while it is on its way."""
        times = [delivery.final_at for delivery in self.of_request if delivery.final]
        return End(self.status, max(times)) if self.has_ended else None

    def reached(self, channel: str | None) -> bool:
        """Whether a human has the request on that channel, by its own delivery, as the fallback or by a resend."""
        return any(
            delivery.destination == channel and delivery.final is Outcome.DELIVERED for delivery in self.deliveries
        )

    def series_of(self, callback: Delivery) -> tuple[Delivery, ...]:
        """The callbacks about the same kind of event: ends, or takes. The last one is about the latest event."""
        of_takes = isinstance(callback.cause, Handled)
        return tuple(each for each in self.callbacks if isinstance(each.cause, Handled) is of_takes)

    def delivery(self, name: str | None) -> Delivery | None:
        """The delivery of that name, if there is one."""
        return next((delivery for delivery in self.deliveries if delivery.name == name), None)


def _retries(delivery: Delivery) -> bool:
    return bool(delivery.attempts) and delivery.attempts[-1].outcome is Outcome.RETRYING
