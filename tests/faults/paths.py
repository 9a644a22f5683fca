"""The paths that a request may take: for each, the steps and the faults that lead to it."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from assistance.domain.record import Handling
from assistance.routing import ROUTES, Channel, Topic
from assistance.slack.blocks import RELEASE, TAKE
from tests.faults.fault_injection import Fault, Kind
from tests.faults.humans import ESCALATE_AFTER, STAFFED
from tests.faults.world import World

DESCRIPTION = "words that belong in no log"
Step = Callable[[World, Topic], None]


def _accept(here: World, topic: Topic) -> None:
    here.accept_for_sure(topic, DESCRIPTION, "key")


def _accept_and_settle(here: World, topic: Topic) -> None:
    _accept(here, topic)
    here.settle()


def _accept_two_and_settle(here: World, topic: Topic) -> None:
    """Two requests wait in the queue together, and are sent in one digest."""
    here.accept_for_sure(topic, DESCRIPTION, "key")
    here.accept_for_sure(topic, DESCRIPTION, "other key")
    here.settle()


def _nothing(_: World, __: Topic) -> None:
    pass


def _down_once(here: World, topic: Topic) -> None:
    here.slack.fail("status", status=503, times=1)
    left = iter([Kind.TIMEOUT_BEFORE] * (topic is Topic.PRICING))
    here.injector.outage = lambda name: next(left, None) if name == "sesv2.SendEmail" else None


def _refuse(here: World, *channels: Channel) -> None:
    if Channel.SLACK in channels:
        here.slack.fail("error", error="is_archived")
    if Channel.EMAIL in channels:
        here.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None


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
    """The mail bounces long after it was counted as delivered."""
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
    here.injector.outage = lambda name: next(left, None) if name == "sesv2.SendEmail" else None


def _refuse_both_together(here: World, _: Topic) -> None:
    here.slack.fail("error", error="invalid_blocks", times=1)


def _called_back(here: World, _: Topic) -> None:
    here.calls_back = True
    left = iter([Kind.REFUSED])
    here.injector.outage = lambda name: next(left, None) if name == "callback.post" else None


def _hung_up(here: World, _: Topic) -> None:
    here.calls_back = True
    here.injector.outage = lambda name: Kind.REJECTED if name == "callback.post" else None


def _called_back_at_once(here: World, _: Topic) -> None:
    here.calls_back = True


def _untaken(here: World, topic: Topic) -> None:
    _accept_and_settle(here, topic)
    here.advance(60 * ESCALATE_AFTER)


def _escalated(here: World, topic: Topic) -> None:
    here.calls_back = True
    _untaken(here, topic)
    here.reconcile()


def _one_in_doubt(here: World, topic: Topic) -> None:
    """The consumer is killed after it sent a digest of two requests, before it has recorded that."""
    here.accept_for_sure(topic, DESCRIPTION, "key")
    here.accept_for_sure(topic, DESCRIPTION, "other key")
    here.produce()
    writes = itertools.count(1)
    # Two writes for each request: one takes the lock, one records the result.
    here.injector.outage = lambda name: Kind.CRASH_BEFORE if name == "dynamodb.PutItem" and next(writes) == 4 else None
    here.consume(Channel.SLACK)
    here.heal()
    here.observe()


def _press(here: World, user: str, request_id: str, action: str = TAKE) -> None:
    here.press_for_sure(user, request_id, action)
    here.observe()


def _deliver_and_take(here: World, topic: Topic) -> None:
    """Anna takes the request. Ben clicks too, because his screen still shows the button."""
    _accept(here, topic)
    here.turn()
    if not here.slack.messages:
        here.settle()
    [request_id] = here.accepted
    _press(here, "anna", request_id)
    _press(here, "ben", request_id)
    here.settle()
    assert _holder(here, request_id) == ("@anna", "slack")
    assert _told(here) == ["taken"]


def _take_release_and_take(here: World, _: Topic) -> None:
    """Ben cannot release the request that Anna has taken."""
    [request_id] = here.accepted
    _press(here, "anna", request_id)
    _press(here, "ben", request_id, RELEASE)
    _press(here, "anna", request_id, RELEASE)
    here.take_by_command("Carla", request_id)
    assert _holder(here, request_id) == ("Carla", "operator")
    here.release_by_command("Carla", request_id)
    _press(here, "ben", request_id)
    here.settle()
    assert _holder(here, request_id) == ("@ben", "slack")


def _take_by_link_release_and_take(here: World, _: Topic) -> None:
    """Ben, who has the same link, cannot release the request that Anna has taken.

    Anna's browser submits its form again.
    """
    [request_id] = here.accepted
    anna, ben = "a" * 32, "b" * 32
    assert "Nobody has this request" in here.by_link(request_id)
    assert all("You have it" in here.by_link(request_id, name="Anna", press=anna) for _ in range(2))
    for form in ({"name": "Ben", "press": ben}, {"release": ben}):
        assert "Taken by <strong>Anna" in here.by_link(request_id, **form)
    assert _holder(here, request_id) == ("Anna", "email")
    here.by_link(request_id, release=anna)
    assert _holder(here, request_id) is None
    here.by_link(request_id, name="Ben", press=ben)
    here.settle()
    assert _holder(here, request_id) == ("Ben", "email")
    assert _told(here)[-1] == "taken"


def _mail_in_doubt(here: World, topic: Topic) -> None:
    _in_doubt(here, topic)
    _accept(here, topic)
    here.produce()
    here.consume(Channel.EMAIL)
    here.observe()


def _take_by_link(here: World, _: Topic) -> None:
    """The take proves that the mail has arrived, so the mail is not sent again."""
    [request_id] = here.accepted
    here.by_link(request_id, name="Anna", press="a" * 32)
    here.settle()
    assert here.mails().total() == 1
    assert _holder(here, request_id) == ("Anna", "email")


def _called_back_and_settled(here: World, topic: Topic) -> None:
    here.calls_back = True
    _accept_and_settle(here, topic)


def _press_the_other(here: World, _: Topic) -> None:
    """If Slack shows a warning, the person clicks again only after all processing has finished."""
    in_doubt, sent = sorted(here.accepted.values(), key=lambda request: request.status, reverse=True)
    assert (in_doubt.status, sent.status) == ("sending", "delivered")
    here.press("anna", sent.id, TAKE)
    here.settle()
    assert len(here.slack.messages) == 1
    if not here.taken(sent.id):
        _press(here, "anna", sent.id)
    assert _holder(here, sent.id) == ("@anna", "slack")
    assert _holder(here, in_doubt.id) is None


def _escalate(here: World, _: Topic) -> None:
    """If a reconciler run is killed, the next run escalates the remaining requests."""
    [request_id] = here.accepted
    here.reconcile()
    here.settle()
    if not here.escalations(request_id):
        here.advance(60)
        here.reconcile()
        here.settle()
    assert here.escalations(request_id) == ["delivered"]


def _take_before_it_is_sent_and_release(here: World, _: Topic) -> None:
    [request_id] = here.accepted
    here.produce()
    _press(here, "anna", request_id)
    here.settle()
    assert not here.mails(), "nobody is mailed what a human has taken"
    _press(here, "anna", request_id, RELEASE)
    here.settle()
    assert _told(here) == ["taken", "released"]
    assert here.escalations(request_id) == ["delivered"]


def _holder(here: World, request_id: str) -> tuple[str, str] | None:
    taken = here.taken(request_id)
    return (taken["by"], taken["via"]) if taken else None


def _told(here: World) -> list[str]:
    """Return the takes and releases that the bot's callbacks report."""
    events = [id_.split("_")[1] for id_ in dict.fromkeys(call.id for call in here.bot.calls)]
    return [event for event in events if event in {*Handling}]


def _reconcile_and_settle(here: World, _: Topic) -> None:
    here.reconcile()
    here.settle()


def _settle_and_reconcile(here: World, _: Topic) -> None:
    here.settle()
    here.reconcile()


@dataclass(frozen=True, slots=True)
class Path:
    """A path: its steps before the faults, the step whose calls are broken in turn, and the status without a fault.

    `staffed`: people take requests.
    """

    before: Step
    then: Step = _accept_and_settle
    ends: str = "delivered"
    topics: tuple[Topic, ...] = tuple(Topic)
    staffed: bool = False


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
    "taken": Path(_called_back_at_once, _deliver_and_take, topics=(Topic.SALES,), staffed=True),
    "taken, released and taken by another": Path(
        _accept_and_settle, _take_release_and_take, topics=(Topic.SALES,), staffed=True
    ),
    "taken by a link, released and taken by another": Path(
        _called_back_and_settled, _take_by_link_release_and_take, topics=(Topic.PRICING,), staffed=True
    ),
    "taken by a link in doubt": Path(_mail_in_doubt, _take_by_link, topics=(Topic.PRICING,), staffed=True),
    "pressed in a digest in doubt": Path(_one_in_doubt, _press_the_other, topics=(Topic.SALES,), staffed=True),
    "escalated": Path(_untaken, _escalate, staffed=True),
    "escalated, taken and released": Path(
        _escalated, _take_before_it_is_sent_and_release, topics=(Topic.SALES,), staffed=True
    ),
}

EACH_PATH = [(name, topic) for name, path in PATHS.items() for topic in path.topics]


def run(here: World, path: Path, topic: Topic, fault: Fault | None) -> None:
    """Take all steps of the path in an empty system, with that call broken."""
    here.deploy(STAFFED if path.staffed else {})
    here.reset()
    path.before(here, topic)
    here.injector.plan(fault)
    try:
        path.then(here, topic)
    except AssertionError as error:
        error.add_note(f"{topic}: {fault} of {here.injector.calls}")
        raise


def unbroken(here: World, name: str, topic: Topic) -> list[str]:
    """Take all steps of the path without a fault. Returns the calls that the functions made."""
    path = PATHS[name]
    run(here, path, topic, None)
    assert {request.status for request in here.accepted.values()} == {path.ends}
    return list(here.injector.calls)
