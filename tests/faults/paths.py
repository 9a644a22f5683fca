"""The paths that a request may take, each as what happens before and what is broken."""

from collections.abc import Callable
from dataclasses import dataclass

from assistance.routing import ROUTES, Channel, Topic
from tests.faults.breaker import Fault, Kind
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


def _redriven_in_vain(here: World, topic: Topic) -> None:
    _all_refuse(here, topic)
    _accept_and_settle(here, topic)
    here.redrive()


def _come_back(here: World, _: Topic) -> None:
    """Long after it was counted as delivered."""
    here.accept_for_sure(Topic.PRICING, DESCRIPTION, "key")
    here.settle()
    here.advance(60)
    here.reconcile()
    here.say_of_mail("bounce", 0)


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


def _settle_and_reconcile(here: World, _: Topic) -> None:
    here.settle()
    here.reconcile()


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
    "redriven in vain": Path(_redriven_in_vain, lambda here, _: here.settle(), ends="failed"),
    "come back": Path(_come_back, _settle_and_reconcile, topics=(Topic.PRICING,)),
    "published by the reconciler": Path(_never_streamed, _reconcile_and_settle),
    "called back at the second attempt": Path(_called_back, topics=(Topic.SALES,)),
    "hung up on": Path(_hung_up, topics=(Topic.PRICING,)),
    "found in a dead-letter queue": Path(_undeliverable, _reconcile_and_settle),
    "two in a digest": Path(_nothing, _accept_two_and_settle, topics=(Topic.SALES,)),
    "two in a digest in doubt": Path(_in_doubt, _accept_two_and_settle, topics=(Topic.SALES,)),
    "two refused together": Path(_refuse_both_together, _accept_two_and_settle, topics=(Topic.SALES,)),
}

EACH_PATH = [(name, topic) for name, path in PATHS.items() for topic in path.topics]


def run(here: World, path: Path, topic: Topic, fault: Fault | None) -> None:
    """Go all the way in an empty world, with that call broken."""
    here.reset()
    path.before(here, topic)
    here.breaker.plan(fault)
    try:
        path.then(here, topic)
    except AssertionError as error:
        error.add_note(f"{topic}: {fault} of {here.breaker.calls}")
        raise


def unbroken(here: World, name: str, topic: Topic) -> list[str]:
    """Go all the way. Returns the calls."""
    path = PATHS[name]
    run(here, path, topic, None)
    assert {request.status for request in here.accepted.values()} == {path.ends}
    return list(here.breaker.calls)
