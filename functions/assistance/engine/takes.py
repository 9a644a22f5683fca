"""A human takes or releases a request. Each is one conditional write, whether the human uses Slack or the take page."""

from dataclasses import dataclass
from functools import partial

from assistance.domain import takes
from assistance.domain.record import Take
from assistance.platform import metrics
from assistance.platform.clock import epoch_ms, utc_now
from assistance.platform.metrics import Metric
from assistance.store.requests import Requests, Stored


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer to a human who wants to take a request: who has it now."""

    stored: Stored  # the record after it
    take: Take  # the take that is in force
    is_new: bool  # True if this call made that take; False if somebody had taken the request before


def take(
    requests: Requests,
    request_id: str,
    take_id: str,
    *,
    by: str,
    via: str,
    delivery: str | None = None,
    result: str | None = None,
    place: str | None = None,
    known: Stored | None = None,
) -> Taken:
    """Take a request for a human, unless somebody has taken it. Each press of a button has a new `take_id`.

    `by`: the name that other humans see. `via`: where the human acts (slack, email, …). `delivery`, `result`, `place`:
    the used message's delivery, its id, and where on the channel the message is. `known`: as for `Requests.change`.
    Raises `RequestGone`, `Unreadable` or `TableUnavailable`.
    """
    known, now = known or requests.read(request_id), epoch_ms(utc_now())
    taken = partial(takes.take, take_id=take_id, by=by, via=via, now=now, published=not known.unpublished)
    used = partial(taken, delivery=delivery, result=result, place=place)
    stored, counts = requests.change(request_id, used, known)
    return Taken(stored, counts, is_new=counts.id == take_id)


def release(requests: Requests, request_id: str, take_id: str, *, by: str, via: str) -> Stored:
    """Undo the take with that id, if it is in force. Arguments and errors as for `take`."""
    known, now = requests.read(request_id), epoch_ms(utc_now())
    event = partial(takes.release, take_id=take_id, by=by, via=via, now=now, published=not known.unpublished)
    return requests.update(request_id, event, known)


def measure(taken: Taken) -> None:
    """Emit how long the request waited until a human took it, if this take is new."""
    if taken.is_new:
        record = taken.stored.record
        metrics.measure(Metric.ACCEPTED_TO_TAKEN, taken.take.at - record.created_at, topic=record.topic)
