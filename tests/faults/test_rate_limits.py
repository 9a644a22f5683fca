"""Tests that rate limits use up no attempts for an hour, in which a pause or a long queue counts only in part."""

from assistance.routing import CALLBACK, Channel, Topic
from tests.faults.fault_injection import Kind
from tests.faults.system import ATTEMPTS
from tests.faults.test_failures_of_other_designs import published, status
from tests.faults.world import World


def test_the_hours_in_which_a_consumer_was_off_do_not_count_as_hours_of_a_rate_limit(system: World) -> None:
    request_id = published(system, Topic.PRICING)
    system.injector.outage = lambda name: Kind.REFUSED if name == "sesv2.SendEmail" else None
    system.consume(Channel.EMAIL)
    assert status(system, request_id) == "retrying"
    # The operator runs `assistance disable consumer email`, and `enable` two hours later.
    system.advance(2 * 3_600)
    # The backlog exceeds SES's rate for ten minutes.
    for _ in range(10):
        system.consume(Channel.EMAIL)
        system.advance(60)
    system.heal()
    system.settle()
    assert not system.dead_letters()
    assert [each["channel"] for each in system.show(request_id)["deliveries"]] == ["email"]


def test_the_fallback_delivers_if_each_attempt_in_a_long_queue_comes_late_and_is_refused(system: World) -> None:
    request_id = published(system, Topic.PRICING)
    system.injector.outage = lambda name: Kind.REFUSED if name == "sesv2.SendEmail" else None
    for _ in range(5 + ATTEMPTS):
        system.consume(Channel.EMAIL)
        # The consumer needs half an hour for the other messages of its queue.
        system.advance(1_800)
    assert status(system, request_id) == "failed"
    system.settle()
    delivered = {each["channel"]: each["status"] for each in system.show(request_id)["deliveries"]}
    assert delivered == {"email": "failed", "slack": "delivered"}


def test_a_callback_that_the_bot_refused_hours_ago_is_not_given_up_when_the_bot_is_busy_for_a_minute(
    system: World,
) -> None:
    system.calls_back = True
    request_id = published(system)
    system.consume(Channel.SLACK)
    system.produce()
    busy = (429, {"Retry-After": "5"})
    system.bot.answers.extend([busy, *[(503, dict[str, str]())] * (ATTEMPTS - 1), busy])
    for hours in (0, 1, 1, 1, 0):
        system.advance(3_600 * hours + 60)
        system.consume(CALLBACK)
    assert not system.bodies(f"{CALLBACK}-dlq")
    system.settle()
    assert status(system, request_id) == "delivered"
