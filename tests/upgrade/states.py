"""Each state in which version 1 may leave a request, and the result that the request must reach from there."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from assistance.routing import CALLBACK, Channel
from tests.faults.fault_injection import Kind
from tests.upgrade.world import World

POST: Final = "http.chat.postMessage"


@dataclass(frozen=True, slots=True)
class State:
    """A state. `reach`: brings a new request into it. `arrives`: how many messages must arrive on Slack and by email.

    `told`: the number of callbacks. `afterwards`: called with the request's id once all functions are updated.
    `may_wait`: after a rollback the request may stay unfinished until the functions are updated again.
    """

    reach: Callable[[World, str], str]
    arrives: tuple[int, int] = (1, 0)
    told: int = 0
    afterwards: Callable[[World, str], None] | None = None
    may_wait: bool = False


def message(world: World, request_id: str, **members: str) -> str:
    """The body of version 1's message about the request. `members`: further fields of the message."""
    item = world.table.get_item(Key={"pk": request_id, "sk": "REQUEST"})["Item"]
    said = {name: item[name] for name in ("topic", "description", "created_at")}
    return json.dumps({"version": 1, "request": {"id": request_id, **said}, **members})


def unpublished(world: World, description: str) -> str:
    return world.accept("sales", description)


def lost_by_the_stream(world: World, description: str) -> str:
    request_id = world.accept("sales", description)
    world.bring_stream(request_id, lost=True)
    return request_id


def queued(world: World, description: str, topic: str = "sales", *, calls_back: bool = False) -> str:
    request_id = world.accept(topic, description, calls_back=calls_back)
    world.bring_stream(request_id)
    return request_id


def killed(kind: Kind) -> Callable[[World, str], str]:
    def reach(world: World, description: str) -> str:
        request_id = queued(world, description)
        world.killed(Channel.SLACK, request_id, POST, kind)
        return request_id

    return reach


def after(topic: str, fault: str, **details: object) -> Callable[[World, str], str]:
    """Returns a function that accepts a request about `topic`, and makes an attempt: Slack responds with this fault."""

    def reach(world: World, description: str) -> str:
        request_id = queued(world, description, topic)
        world.slack.fail(fault, times=1, **details)
        world.attempt(Channel.SLACK, request_id)
        return request_id

    return reach


falls_back = after("sales", "error", error="is_archived")


def fallback_queued(world: World, description: str) -> str:
    request_id = falls_back(world, description)
    world.bring_stream(request_id)
    return request_id


def fallback_delivered(world: World, description: str) -> str:
    request_id = fallback_queued(world, description)
    world.attempt(Channel.EMAIL, request_id)
    return request_id


def delivered(world: World, description: str, *, calls_back: bool = False) -> str:
    request_id = queued(world, description, calls_back=calls_back)
    world.attempt(Channel.SLACK, request_id)
    return request_id


def ended(world: World, description: str) -> str:
    return delivered(world, description, calls_back=True)


def callback_queued(world: World, description: str) -> str:
    request_id = ended(world, description)
    world.bring_stream(request_id)
    return request_id


def callback_retrying(world: World, description: str) -> str:
    request_id = callback_queued(world, description)
    world.bot.answers.append((503, {}))
    world.attempt(CALLBACK, request_id)
    return request_id


def called_back(world: World, description: str) -> str:
    request_id = callback_queued(world, description)
    world.attempt(CALLBACK, request_id)
    return request_id


def resend_queued(world: World, description: str) -> str:
    request_id = delivered(world, description)
    world.enqueue(Channel.SLACK, message(world, request_id, force=str(uuid.uuid4())))
    return request_id


def resent(world: World, description: str) -> str:
    request_id = delivered(world, description)
    forced = message(world, request_id, force=str(uuid.uuid4()))
    world.enqueue(Channel.SLACK, forced)
    world.attempt(Channel.SLACK, request_id)
    world.enqueue(Channel.SLACK, forced)
    return request_id


def mailed(world: World, description: str) -> str:
    request_id = queued(world, description, "pricing")
    world.attempt(Channel.EMAIL, request_id)
    return request_id


def bounced(world: World, description: str) -> str:
    request_id = mailed(world, description)
    world.bounce(request_id)
    return request_id


def open_(world: World, description: str) -> str:
    request_id = queued(world, description)
    world.lose(Channel.SLACK, request_id)
    return request_id


def reopened(world: World, description: str) -> str:
    request_id = bounced(world, description)
    world.bring_stream(request_id)
    world.lose(Channel.SLACK, request_id)
    return request_id


def deliver_twice(world: World, request_id: str) -> None:
    """SQS delivers the request's message on Slack once more."""
    world.enqueue(Channel.SLACK, message(world, request_id))


STATES: Final = {
    "accepted": State(unpublished),
    "never seen by the stream": State(lost_by_the_stream),
    "queued": State(queued),
    "killed before the post": State(killed(Kind.CRASH_BEFORE)),
    "killed after the post": State(killed(Kind.CRASH_AFTER)),
    "retrying": State(after("sales", "status", status=503)),
    "in doubt": State(after("sales", "drop")),
    "put off": State(after("sales", "rate_limited", retry_after=0)),
    "fallback in the outbox": State(falls_back, (0, 1)),
    "fallback queued": State(fallback_queued, (0, 1)),
    "fallback delivered": State(fallback_delivered, (0, 1)),
    "delivered": State(delivered, afterwards=deliver_twice),
    "callback in the outbox": State(ended, told=1),
    "callback queued": State(callback_queued, told=1),
    "callback retrying": State(callback_retrying, told=2),
    "called back": State(called_back, told=1),
    "resend queued": State(resend_queued, (2, 0)),
    "resent": State(resent, (2, 0)),
    "mail delivered that bounces": State(mailed, (1, 1), afterwards=World.bounce, may_wait=True),
    "mail bounced": State(bounced, (1, 1)),
    "dead letter": State(after("alone", "error", error="is_archived"), may_wait=True),
    "open in the ledger": State(open_, may_wait=True),
    "reopened": State(reopened, (1, 1)),
}
"""The states of requests when an upgrade begins. Each request's description contains the key of its state."""

TRAFFIC: Final = {
    "accepted": State(unpublished),
    "queued": State(queued),
    "in doubt": State(after("sales", "drop")),
    "retrying": State(after("sales", "status", status=503)),
    "killed after the post": State(killed(Kind.CRASH_AFTER)),
    "falling back": State(falls_back, (0, 1)),
    "mailed": State(mailed, (0, 1)),
    "called back": State(ended, told=1),
}
"""The states of the requests that arrive between two steps of an upgrade."""
