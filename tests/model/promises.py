"""The promises that every state of the world and every step must keep."""

from itertools import pairwise

from assistance.domain.record import Delivery, End, Kind, Outcome, Record, Status
from assistance.domain.transitions import FALLBACK
from tests.model.memory import Memory
from tests.model.world import ATTEMPTS, CAN_BE_ASKED, RANK, World


def broken_by_step(before: Record, after: Record, step: str) -> str | None:
    """The promise that this step breaks, or None."""
    was, now = before.status, after.status
    if RANK[now] < RANK[was] and step != "its return is recorded":
        return f"the status moved back from {was} to {now}"
    if _callbacks(after) > _callbacks(before) and not after.has_ended:
        return f"the request adds a callback before it has ended: it is {now}"
    told = [callback.cause.status for callback in after.callbacks if isinstance(callback.cause, End)]
    if any(first is second for first, second in pairwise(told)):
        return f"the bot is told {told[-1]} twice"
    for delivery in before.deliveries:
        later = after.delivery(delivery.name)
        if later is None:
            return f"{delivery.name} is gone"
        if delivery.final and later.final is None:
            return f"{delivery.name} has no final status any more"
    return None


def _callbacks(record: Record) -> int:
    return sum(delivery.kind is Kind.CALLBACK for delivery in record.deliveries)


def broken(world: World, memory: Memory) -> str | None:
    """The promise that this state breaks, or None."""
    posted = tuple(name for name, _ in world.posts)
    wrong = memory.once(_broken_by_posts)(world.record, posted, world.excused, world.sure)
    return wrong or (
        memory.once(_broken_at_rest)(world.record, world.letters) if world.is_quiet and not world.expired else None
    )


def _broken_by_posts(record: Record, posted: tuple[str, ...], excused: tuple[str, ...], sure: bool) -> str | None:  # noqa: FBT001
    for delivery in record.deliveries:
        if wrong := _broken_by_delivery(delivery, posted.count(delivery.name), excused.count(delivery.name)):
            return f"{delivery.name} {wrong}"
    own, fallback = (
        [delivery for delivery in record.deliveries if delivery.kind is kind and delivery.name in posted]
        for kind in (Kind.OWN, Kind.FALLBACK)
    )
    if sure and fallback and len(own) == len(record.channels):
        return "the fallback was sent although all channels were, and nothing was in doubt"
    return None


def _broken_by_delivery(delivery: Delivery, times: int, excused: int) -> str | None:
    if delivery.destination == CAN_BE_ASKED and times > 1:
        return f"was posted {times} times"
    if times > 1 + excused:
        return f"arrived {times} times without any doubt"
    if delivery.attempts_used > ATTEMPTS:
        return f"was attempted {delivery.attempts_used} times"
    kept = any(attempt.outcome is Outcome.DELIVERED and attempt.returned_at is None for attempt in delivery.attempts)
    if (delivery.final is Outcome.DELIVERED) is not kept:
        return f"has the final status {delivery.final}, which its attempts contradict"
    return "is delivered, but nobody has received it" if kept and not times else None


def _broken_at_rest(record: Record, letters: tuple[str, ...]) -> str | None:
    for delivery in record.of_request:
        failed = delivery.final is Outcome.FAILED and not record.reached(delivery.destination)
        if failed and record.status is Status.FAILED and delivery.name not in letters:
            return f"{delivery.name} has failed and its message is in no dead-letter queue"
    if record.status is Status.FAILED and record.fallback and record.delivery(FALLBACK) is None:
        return "a channel has failed and there is no fallback"
    if record.calls_back and record.has_ended:
        ends = [delivery.cause for delivery in record.deliveries if isinstance(delivery.cause, End)]
        if not ends or ends[-1].status is not record.status:
            return f"no callback says that the request is {record.status}"
    return None
