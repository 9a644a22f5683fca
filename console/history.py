"""Builds a request's history for the console: each event with its time, its channel, and an error's explanation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from assistance.domain.record import Attempt, Delivery, Handled, Kind, Outcome, StandsInFor, Untaken
from assistance.history import RequestRecord
from assistance.platform.clock import timestamp_of
from assistance.routing import CALLBACK
from console.error_explanations import Meaning, meaning

_ORDINALS: Final = ("", "first ", "second ", "third ")


@dataclass(frozen=True, slots=True)
class Event:
    """An event in a request's history, or an attempt that is due in the future.

    `state` is a status, or `taken`, `released`, `due`. `what`: a sentence. `sent_to`: the place on the channel, such as
    a Slack channel. `answered`: the id that the provider gave the message. `seconds`: how long an attempt took.
    """

    at: str
    state: str
    what: str
    channel: str | None = None
    note: str | None = None
    error: Meaning | None = None
    sent_to: str | None = None
    answered: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """Whether a channel has delivered the customer's message to a human.

    `reached` is `yes`, `no` or `not yet`; `words` explains it; `at` is the time of the first delivery.
    """

    reached: str
    words: str
    at: str | None = None


def title(destination: str) -> str:
    """Return the name by which the page shows a destination, such as `Slack` or `The bot`."""
    return "The bot" if destination == CALLBACK else destination.capitalize()


def events(record: RequestRecord) -> list[Event]:
    """All events of a request in the order of their times, and after these the attempts that are due."""
    found = [Event(record.request.created_at, "accepted", "Accepted: stored, and in the outbox, by one write")]
    if record.published_at:
        found.append(Event(record.published_at, "published", "Published: from the outbox into the channels' queues"))
    for delivery in record.record.deliveries:
        found += _of_delivery(delivery, needed=delivery in record.record.unfinished or delivery.kind is Kind.CALLBACK)
    for take in record.record.takes:
        found.append(Event(timestamp_of(take.at), "taken", f"Taken by {take.by}, via {take.via}"))
        if take.released_at:
            found.append(
                Event(timestamp_of(take.released_at), "released", f"Released: {take.by} no longer has the request")
            )
    return sorted(found, key=lambda event: (event.state == "due", event.at))


def reached(record: RequestRecord) -> Reached:
    """Whether the customer's message has reached a human, and by which channels."""
    to_humans = [each for each in record.record.deliveries if each.kind is not Kind.CALLBACK]
    delivered = [each for each in to_humans if each.final is Outcome.DELIVERED]
    taken = record.record.taken
    handled = f" {taken.by} handles it." if taken else ""
    if delivered:
        first = min(delivered, key=lambda each: each.final_at)
        names = " and ".join(dict.fromkeys(title(each.destination) for each in delivered))
        causes = (each.cause for each in delivered if isinstance(each.cause, StandsInFor))
        why = "".join(f", instead of {title(each.channel)}" for each in causes)
        return Reached("yes", f"{names} took the message{why}.{handled}", timestamp_of(first.final_at))
    if not record.record.has_ended:
        waiting = ", ".join(title(each.destination) for each in record.record.pending)
        where = " in the outbox" if in_outbox(record) else ""
        return Reached("not yet", f"the request waits{where}{waiting and f' for {waiting}'}.{handled}")
    failed = [each for each in to_humans if each.final is Outcome.FAILED]
    names = " and ".join(dict.fromkeys(title(each.destination) for each in failed))
    letters = "dead letters wait" if len({each.destination for each in failed}) > 1 else "a dead letter waits"
    return Reached("no", f"{names or 'Every channel'} failed, and {letters} for a redrive.{handled}")


def in_outbox(record: RequestRecord) -> bool:
    """Whether a message of the request, other than a callback, still has to be published."""
    callbacks = {callback.name for callback in record.record.callbacks}
    return record.unpublished or any(entry.delivery not in callbacks for entry in record.record.outbox)


def _of_delivery(delivery: Delivery, *, needed: bool) -> Iterator[Event]:
    name, channel = title(delivery.destination), delivery.destination
    for number, attempt in enumerate(delivery.attempts, 1):
        yield from _of_attempt(delivery, attempt, number)
    if delivery.final is None and not delivery.is_under_way and needed and delivery.due_at:
        error = meaning(delivery.waiting_for, channel)
        yield Event(timestamp_of(delivery.due_at), "due", f"{name}: next attempt", channel, error=error)


def _of_attempt(delivery: Delivery, attempt: Attempt, number: int) -> Iterator[Event]:
    name, channel, at = title(delivery.destination), delivery.destination, timestamp_of(attempt.at)
    if attempt.found:
        what = (
            f"{name}: a human has seen the message"
            if attempt.outcome is Outcome.DELIVERED
            else (f"{name}: its message was found among the dead letters")
        )
        yield Event(at, attempt.outcome, what, channel, error=meaning(attempt.error, channel))
        return
    ended = attempt.ended_at
    seconds = (ended - attempt.at) / 1_000 if ended else None
    state, how = _how(delivery, attempt)
    notes = [_why(delivery)] if number == 1 else []
    notes += ["in doubt: the message may have arrived"] if attempt.in_doubt else []
    note = "; ".join(filter(None, notes)) or None
    error = meaning(attempt.error, channel) if attempt.returned_at is None else None
    what = f"{name}: attempt {number} {how}"
    yield Event(at, state, what, channel, note, error, attempt.place, attempt.result, seconds)
    if attempt.confirmed_at:
        what = f"{name}: the recipient's mail server has taken it"
        yield Event(timestamp_of(attempt.confirmed_at), "delivered", what, channel)
    if attempt.returned_at:
        what = f"{name}: the message came back"
        yield Event(timestamp_of(attempt.returned_at), "failed", what, channel, error=meaning(attempt.error, channel))


def _how(delivery: Delivery, attempt: Attempt) -> tuple[str, str]:
    match attempt.outcome:
        case Outcome.DELIVERED:
            return "delivered", "delivered"
        case Outcome.FAILED:
            return "failed", "failed for good"
        case Outcome.RETRYING:
            return "retrying", "failed, and another follows"
    if delivery.holds(attempt.id):
        return "sending", "is under way"
    return "unknown", "ended without a result: its process died"


def _why(delivery: Delivery) -> str | None:
    match delivery.cause:
        case StandsInFor(channel, error):
            return f"as the fallback, because {title(channel)} failed ({error})"
        case Untaken(minutes):
            return f"as an escalation: nobody took it within {minutes} minutes"
        case Handled(how, by):
            return f"tells the bot that {by} has {how} it"
    if delivery.kind is Kind.CALLBACK:
        return "tells the bot the final status"
    return "a resend by an operator" if delivery.kind is Kind.RESEND else None
