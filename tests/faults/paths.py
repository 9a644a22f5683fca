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


def _accept(system: World, topic: Topic) -> None:
    system.accept_for_sure(topic, DESCRIPTION, "key")


def _accept_and_settle(system: World, topic: Topic) -> None:
    _accept(system, topic)
    system.settle()


def _accept_two(system: World, topic: Topic) -> None:
    """A bot sends two requests, so that the consumer sends them in one digest."""
    system.accept_for_sure(topic, DESCRIPTION, "key")
    system.accept_for_sure(topic, DESCRIPTION, "other key")


def _accept_two_and_settle(system: World, topic: Topic) -> None:
    _accept_two(system, topic)
    system.settle()


def _nothing(_: World, __: Topic) -> None:
    pass


def _down_once(system: World, topic: Topic) -> None:
    system.slack.fail("status", status=503, times=1)
    left = iter([Kind.TIMEOUT_BEFORE] * (topic is Topic.PRICING))
    system.injector.outage = lambda name: next(left, None) if name == "sesv2.SendEmail" else None


def _refuse(system: World, *channels: Channel) -> None:
    if Channel.SLACK in channels:
        system.slack.fail("error", error="is_archived")
    if Channel.EMAIL in channels:
        system.injector.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None


def _first_channel_refuses(system: World, topic: Topic) -> None:
    _refuse(system, *ROUTES[topic].channels)


def _all_refuse(system: World, topic: Topic) -> None:
    _refuse(system, *Channel)


def _redriven(system: World, topic: Topic) -> None:
    _all_refuse(system, topic)
    _accept_and_settle(system, topic)
    system.heal()
    system.redrive()


def _redriven_in_vain(system: World, topic: Topic) -> None:
    _all_refuse(system, topic)
    _accept_and_settle(system, topic)
    system.redrive()


def _come_back(system: World, _: Topic) -> None:
    """The mail bounces long after it was counted as delivered."""
    system.accept_for_sure(Topic.PRICING, DESCRIPTION, "key")
    system.settle()
    system.advance(60)
    system.reconcile()
    system.publish_mail_event("bounce", 0)


def _never_streamed(system: World, topic: Topic) -> None:
    _accept(system, topic)
    system.read_stream()
    system.stream.clear()
    system.advance(70)


def _undeliverable(system: World, topic: Topic) -> None:
    _accept(system, topic)
    system.produce()
    system.lose_to_subscription_dlq(*ROUTES[topic].channels)
    system.advance(40)


def _in_doubt(system: World, topic: Topic) -> None:
    system.slack.fail("drop", times=1)
    left = iter([Kind.TIMEOUT_AFTER] * (topic is Topic.PRICING))
    system.injector.outage = lambda name: next(left, None) if name == "sesv2.SendEmail" else None


def _refuse_both_together(system: World, _: Topic) -> None:
    system.slack.fail("error", error="invalid_blocks", times=1)


def _called_back(system: World, _: Topic) -> None:
    system.calls_back = True
    left = iter([Kind.REFUSED])
    system.injector.outage = lambda name: next(left, None) if name == "callback.post" else None


def _hung_up(system: World, _: Topic) -> None:
    system.calls_back = True
    system.injector.outage = lambda name: Kind.REJECTED if name == "callback.post" else None


def _called_back_at_once(system: World, _: Topic) -> None:
    system.calls_back = True


def _untaken(system: World, topic: Topic) -> None:
    _accept_and_settle(system, topic)
    system.advance(60 * ESCALATE_AFTER)


def _escalated(system: World, topic: Topic) -> None:
    system.calls_back = True
    _untaken(system, topic)
    system.reconcile()


def _one_in_doubt(system: World, topic: Topic) -> None:
    """The consumer is killed after it sent a digest of two requests, before it has recorded that."""
    _accept_two(system, topic)
    system.produce()
    writes = itertools.count(1)
    # Two writes for each request: one takes the lock, one records the result.
    system.injector.outage = lambda name: (
        Kind.CRASH_BEFORE if name == "dynamodb.PutItem" and next(writes) == 4 else None
    )
    system.consume(Channel.SLACK)
    system.heal()
    system.observe()


def _press(system: World, user: str, request_id: str, action: str = TAKE) -> None:
    system.press_for_sure(user, request_id, action)
    system.observe()


def _deliver_and_take(system: World, topic: Topic) -> None:
    """Anna takes the request. Ben clicks too, because his screen still shows the button."""
    _accept(system, topic)
    system.turn()
    if not system.slack.messages:
        system.settle()
    [request_id] = system.accepted
    _press(system, "anna", request_id)
    _press(system, "ben", request_id)
    system.settle()
    assert _holder(system, request_id) == ("@anna", "slack")
    assert _callback_statuses(system) == ["taken"]


def _take_release_and_take(system: World, _: Topic) -> None:
    """Anna, Carla and Ben take the request one after another. Ben cannot release it while Anna has it."""
    [request_id] = system.accepted
    _press(system, "anna", request_id)
    _press(system, "ben", request_id, RELEASE)
    _press(system, "anna", request_id, RELEASE)
    system.take_by_command("Carla", request_id)
    assert _holder(system, request_id) == ("Carla", "operator")
    system.release_by_command("Carla", request_id)
    _press(system, "ben", request_id)
    system.settle()
    assert _holder(system, request_id) == ("@ben", "slack")


def _take_by_link_release_and_take(system: World, _: Topic) -> None:
    """Anna takes the request by its link, and releases it. Then Ben, who could not release it for her, takes it."""
    [request_id] = system.accepted
    anna, ben = "a" * 32, "b" * 32
    assert "Nobody has this request" in system.by_link(request_id)
    assert all("You have it" in system.by_link(request_id, name="Anna", press=anna) for _ in range(2))
    for form in ({"name": "Ben", "press": ben}, {"release": ben}):
        assert "Taken by <strong>Anna" in system.by_link(request_id, **form)
    assert _holder(system, request_id) == ("Anna", "email")
    system.by_link(request_id, release=anna)
    assert _holder(system, request_id) is None
    system.by_link(request_id, name="Ben", press=ben)
    system.settle()
    assert _holder(system, request_id) == ("Ben", "email")
    assert _callback_statuses(system)[-1] == "taken"


def _mail_in_doubt(system: World, topic: Topic) -> None:
    _in_doubt(system, topic)
    _accept(system, topic)
    system.produce()
    system.consume(Channel.EMAIL)
    system.observe()


def _take_by_link(system: World, _: Topic) -> None:
    """Anna takes the request by its link. This proves that the mail has arrived, so the mail is not sent again."""
    [request_id] = system.accepted
    system.by_link(request_id, name="Anna", press="a" * 32)
    system.settle()
    assert system.mails().total() == 1
    assert _holder(system, request_id) == ("Anna", "email")


def _called_back_and_settled(system: World, topic: Topic) -> None:
    system.calls_back = True
    _accept_and_settle(system, topic)


def _press_the_other(system: World, _: Topic) -> None:
    """Anna takes one request of a digest while another one in it is in doubt. If the take fails, she clicks again."""
    in_doubt, sent = sorted(system.accepted.values(), key=lambda request: request.status, reverse=True)
    assert (in_doubt.status, sent.status) == ("sending", "delivered")
    system.press("anna", sent.id, TAKE)
    system.settle()
    assert len(system.slack.messages) == 1
    if not system.taken(sent.id):
        _press(system, "anna", sent.id)
    assert _holder(system, sent.id) == ("@anna", "slack")
    assert _holder(system, in_doubt.id) is None


def _escalate(system: World, _: Topic) -> None:
    """The reconciler escalates a request that nobody has taken. If its run is killed, the next run escalates."""
    [request_id] = system.accepted
    system.reconcile()
    system.settle()
    if not system.escalations(request_id):
        system.advance(60)
        system.reconcile()
        system.settle()
    assert system.escalations(request_id) == ["delivered"]


def _take_before_it_is_sent_and_release(system: World, _: Topic) -> None:
    [request_id] = system.accepted
    system.produce()
    _press(system, "anna", request_id)
    system.settle()
    assert not system.mails(), "nobody is mailed what a human has taken"
    _press(system, "anna", request_id, RELEASE)
    system.settle()
    assert _callback_statuses(system) == ["taken", "released"]
    assert system.escalations(request_id) == ["delivered"]


def _holder(system: World, request_id: str) -> tuple[str, str] | None:
    taken = system.taken(request_id)
    return (taken["by"], taken["via"]) if taken else None


def _callback_statuses(system: World) -> list[str]:
    """Return the takes and releases that the bot's callbacks report."""
    events = [id_.split("_")[1] for id_ in dict.fromkeys(call.id for call in system.bot.calls)]
    return [event for event in events if event in {*Handling}]


def _reconcile_and_settle(system: World, _: Topic) -> None:
    system.reconcile()
    system.settle()


def _settle_and_reconcile(system: World, _: Topic) -> None:
    system.settle()
    system.reconcile()


@dataclass(frozen=True, slots=True)
class Path:
    """A path: the step `before` the faults, the step `then` whose calls break in turn, and the status at the end.

    `staffed`: the deployment lets people take requests.
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
    "redriven": Path(_redriven, lambda system, _: system.settle()),
    "redriven in vain": Path(_redriven_in_vain, lambda system, _: system.settle(), ends="failed"),
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


def run(system: World, path: Path, topic: Topic, fault: Fault | None) -> None:
    """Take both steps of the path in an empty system. The fault, if there is one, breaks a call of the second step."""
    system.deploy(STAFFED if path.staffed else {})
    system.reset()
    path.before(system, topic)
    system.injector.plan(fault)
    try:
        path.then(system, topic)
    except AssertionError as error:
        error.add_note(f"{topic}: {fault} of {system.injector.calls}")
        raise


def unbroken(system: World, name: str, topic: Topic) -> list[str]:
    """Take both steps of the path `name` without a fault. Returns the calls that functions made in the second step."""
    path = PATHS[name]
    run(system, path, topic, None)
    assert {request.status for request in system.accepted.values()} == {path.ends}
    return list(system.injector.calls)
