"""Each call on each path is broken in turn, in each way; the system then runs on, and must end in the right state.

`make test` kills the process at each call; `make soak` also has each call refused, time out, and lose its answer.
"""

import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from assistance.routing import ROUTES, Channel, Topic
from tests.faults.breaker import CRASHES, ERRORS, Fault, Kind
from tests.faults.world import World

DESCRIPTION = "words that belong in no log"
Step = Callable[[World, Topic], None]


def _accept(here: World, topic: Topic) -> None:
    here.accept_for_sure(topic, DESCRIPTION, "key")


def _accept_and_settle(here: World, topic: Topic) -> None:
    _accept(here, topic)
    here.settle()


def _accept_two_and_settle(here: World, topic: Topic) -> None:
    """They wait in the queue together, and go out in one message."""
    here.accept_for_sure(topic, DESCRIPTION, "key")
    here.accept_for_sure(topic, DESCRIPTION, "other key")
    here.settle()


def _nothing(_: World, __: Topic) -> None:
    pass


def _down_once(here: World, topic: Topic) -> None:
    here.slack.fail("status", status=503, times=1)
    left = iter([Kind.TIMEOUT_BEFORE] * (topic is Topic.PRICING))
    here.breaker.outage = lambda name: next(left, None) if name == "sesv2.SendEmail" else None


def _refuse(here: World, *channels: Channel) -> None:
    if Channel.SLACK in channels:
        here.slack.fail("error", error="is_archived")
    if Channel.EMAIL in channels:
        here.breaker.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None


def _first_channel_refuses(here: World, topic: Topic) -> None:
    _refuse(here, *ROUTES[topic].channels)


def _all_refuse(here: World, topic: Topic) -> None:
    _refuse(here, *Channel)


def _redriven(here: World, topic: Topic) -> None:
    _all_refuse(here, topic)
    _accept_and_settle(here, topic)
    here.heal()
    here.redrive()


def _never_streamed(here: World, topic: Topic) -> None:
    _accept(here, topic)
    here.read_stream()
    here.stream.clear()
    here.advance(70)


def _undeliverable(here: World, topic: Topic) -> None:
    _accept(here, topic)
    here.produce()
    here.lose_to_subscription_dlq(*ROUTES[topic].channels)
    here.advance(40)


def _in_doubt(here: World, topic: Topic) -> None:
    here.slack.fail("drop", times=1)
    left = iter([Kind.TIMEOUT_AFTER] * (topic is Topic.PRICING))
    here.breaker.outage = lambda name: next(left, None) if name == "sesv2.SendEmail" else None


def _refuse_both_together(here: World, _: Topic) -> None:
    here.slack.fail("error", error="invalid_blocks", times=1)


def _called_back(here: World, _: Topic) -> None:
    here.calls_back = True
    left = iter([Kind.REFUSED])
    here.breaker.outage = lambda name: next(left, None) if name == "callback.post" else None


def _hung_up(here: World, _: Topic) -> None:
    here.calls_back = True
    here.breaker.outage = lambda name: Kind.REJECTED if name == "callback.post" else None


def _reconcile_and_settle(here: World, _: Topic) -> None:
    here.reconcile()
    here.settle()


@dataclass(frozen=True, slots=True)
class Path:
    """What happens before, unbroken; then what is broken at each of its calls; the status at its end, unbroken."""

    before: Step
    then: Step = _accept_and_settle
    ends: str = "delivered"
    topics: tuple[Topic, ...] = tuple(Topic)


PATHS = {
    "delivered at once": Path(_nothing),
    "tried again": Path(_down_once),
    "in doubt": Path(_in_doubt),
    "by the fallback": Path(_first_channel_refuses),
    "failed on both channels": Path(_all_refuse, ends="failed"),
    "redriven": Path(_redriven, lambda here, _: here.settle()),
    "published by the reconciler": Path(_never_streamed, _reconcile_and_settle),
    "called back at the second attempt": Path(_called_back, topics=(Topic.SALES,)),
    "hung up on": Path(_hung_up, topics=(Topic.PRICING,)),
    "found in a dead-letter queue": Path(_undeliverable, _reconcile_and_settle),
    "two in a digest": Path(_nothing, _accept_two_and_settle, topics=(Topic.SALES,)),
    "two in a digest in doubt": Path(_in_doubt, _accept_two_and_settle, topics=(Topic.SALES,)),
    "two refused together": Path(_refuse_both_together, _accept_two_and_settle, topics=(Topic.SALES,)),
}


def _run(here: World, path: Path, topic: Topic, fault: Fault | None) -> None:
    here.reset()
    path.before(here, topic)
    here.breaker.plan(fault)
    try:
        path.then(here, topic)
    except AssertionError as error:
        error.add_note(f"{topic}: {fault} of {here.breaker.calls}")
        raise


SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
KINDS = (*CRASHES, *ERRORS) if SOAK else CRASHES


@pytest.mark.parametrize(("name", "topic"), [(name, topic) for name, path in PATHS.items() for topic in path.topics])
def test_every_single_fault(here: World, count: Callable[[str], None], name: str, topic: Topic) -> None:
    """Whatever one call meets, nothing is lost, nothing is sent twice, and no status moves back."""
    path = PATHS[name]
    _run(here, path, topic, None)
    assert {request.statuses[""] for request in here.accepted.values()} == {path.ends}
    calls = len(here.breaker.calls)
    runs = Counter[Kind]()
    for kind in KINDS:
        for number in itertools.count():
            _run(here, path, topic, Fault(number, kind))
            if not here.breaker.struck:
                break
            runs[kind] += 1
        assert runs[kind] == calls
    crashes, errors = sum(runs[kind] for kind in CRASHES), sum(runs[kind] for kind in ERRORS)
    count(f"{topic}, {name}: {calls} calls, {crashes} crashes, {errors} errors")
