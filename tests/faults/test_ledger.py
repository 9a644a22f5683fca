"""What the ledger sees, and goes on seeing while a channel is down."""

from typing import Any

import pytest
from reconciler.balance import Balance, balance_of
from reconciler.ledger import TIME_TO_PLACE_MS

from assistance.routing import CALLBACK, Channel, Topic
from assistance.store.requests import request_key
from assistance.store.schema import PARTITION_KEY
from reconciler import handler as reconciler
from tests.faults.breaker import Kind
from tests.faults.world import World


def published(here: World, topic: Topic, key: str) -> str:
    request_id = here.accept_for_sure(topic, "hush", key)
    here.produce()
    return request_id


def sweep(here: World) -> dict[str, Any]:
    answer = here.reconcile()
    assert answer is not None
    found: dict[str, Any] = answer["ledger"]
    return found


def pending(here: World) -> dict[str, int]:
    return dict(sweep(here)["oldest_pending_seconds"])


def test_a_message_that_nobody_receives_grows_old(here: World) -> None:
    published(here, Topic.PRICING, "key")
    here.advance(3_000)
    assert pending(here) == {Channel.EMAIL: 3_000}
    here.settle()
    assert not pending(here)


def test_a_message_that_is_received_over_and_over_grows_old_too(here: World) -> None:
    """SQS leaves what was received three times out of its own metric of the oldest message."""
    here.slack.fail("rate_limited", retry_after=60)
    published(here, Topic.SALES, "key")
    received = 0
    for _ in range(10):
        received += here.consume(Channel.SLACK)
        here.advance(200)
    assert received > 3
    assert pending(here) == {Channel.SLACK: 2_000}


def test_a_fallback_is_as_old_as_its_own_publication(here: World) -> None:
    request_id = published(here, Topic.SALES, "key")
    here.advance(3_000)
    here.slack.fail("error", error="is_archived")
    here.consume(Channel.SLACK)
    here.produce()
    here.advance(60)
    assert here.show(request_id)["status"] == "failed"
    assert pending(here) == {Channel.EMAIL: 60}


def test_what_can_t_be_read_is_open_and_grows_old(here: World) -> None:
    request_id = published(here, Topic.SALES, "key")
    here.advance(60)
    sweep(here)
    reconciler.requests().table.update_item(
        Key={PARTITION_KEY: request_id, "sk": "REQUEST"}, UpdateExpression="REMOVE description"
    )
    here.advance(3_000)
    found = sweep(here)
    assert (found["open"], found["oldest_open_seconds"]) == (1, 3_060)


@pytest.mark.parametrize("fallback", ["delivers", "fails"])
def test_an_outage_of_one_channel_hides_no_dead_letter_of_another(
    here: World, monkeypatch: pytest.MonkeyPatch, fallback: str
) -> None:
    monkeypatch.setattr("reconciler.balance.MAX_OPEN", 1)
    published(here, Topic.SALES, "slack is down")
    here.advance(60)
    assert sweep(here)["complete"]
    here.advance(60)
    request_id = published(here, Topic.PRICING, "dead")
    here.lose_to_subscription_dlq(Channel.EMAIL)
    here.advance(60)
    found = sweep(here)
    assert (found["complete"], found["behind_seconds"], found["dead_lettered"]) == (False, 60, [request_id])
    here.check_balance()
    here.advance(60)
    assert sweep(here)["dead_lettered"] == [], "once is enough"
    here.slack.fail("error" if fallback == "fails" else "none", error="is_archived")
    here.settle()
    for _ in range(2):
        here.advance(60)
        found = sweep(here)
    assert (found["complete"], found["behind_seconds"], found["open"]) == (True, 0, 0)
    here.check_balance()
    balance = balance_of(reconciler.requests())
    assert balance.accepted == {"sales": 1, "pricing": 1}
    ended = "failed" if fallback == "fails" else "delivered"
    assert balance.ended == {"sales/delivered": 1, f"pricing/{ended}": 1}


@pytest.mark.parametrize("fate", ["dead-lettered", "lost"])
def test_the_fallback_of_a_mail_that_came_back_is_accounted_for(here: World, fate: str) -> None:
    """The mail counted as delivered long ago, and its own redrive waits for the fallback."""
    request_id = published(here, Topic.PRICING, "key")
    here.settle()
    here.advance(60)
    assert sweep(here)["open"] == 0
    here.say_of_mail("bounce", 0)
    here.bring_feedback()
    here.produce()
    if fate == "lost":
        here.aws.purge(Channel.SLACK)
    else:
        here.lose_to_subscription_dlq(Channel.SLACK)
    here.advance(1_000)
    found = sweep(here)
    assert found[fate.replace("-", "_")] == [request_id]
    assert (found["open"], found["oldest_open_seconds"]) == ((1, 1_000) if fate == "lost" else (0, 0))
    here.settle()
    here.redrive()
    here.settle()
    assert here.show(request_id)["status"] == "delivered"
    assert (len(here.posts()), len(here.mails())) == (1, 1)
    here.advance(60)
    assert sweep(here)["open"] == 0
    here.check_balance()
    balance = balance_of(reconciler.requests())
    assert (balance.ended, balance.reopened) == ({"pricing/delivered": 1}, {})


def old_letters(here: World, number: int) -> None:
    """Of requests that the fallback has delivered since."""
    for one in range(number):
        published(here, Topic.SALES, f"old {one}")
    here.lose_to_subscription_dlq(Channel.SLACK)
    here.advance(60)
    sweep(here)
    here.settle()


def test_what_may_lie_among_letters_that_were_not_read_is_not_published_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time it would add a letter to those in front of it."""
    monkeypatch.setattr("reconciler.ledger.MOST_LETTERS", 10)
    old_letters(here, 10)
    request_id = published(here, Topic.SALES, "new")
    here.lose_to_subscription_dlq(Channel.SLACK)
    here.advance(1_000)
    found = sweep(here)
    assert (found["lost"], found["open"], len(here.dead_letters())) == ([], 1, 11)
    monkeypatch.undo()
    assert sweep(here)["dead_lettered"] == [request_id]


def test_what_may_lie_among_letters_that_somebody_holds_is_not_published_again(here: World) -> None:
    """An operator looks, or a sweep was killed while it looked."""
    request_id = published(here, Topic.SALES, "key")
    here.advance(1_000)
    here.lose_to_subscription_dlq(Channel.SLACK)
    url = here.cloud.subscription_dlqs[Channel.SLACK]
    assert here.cloud.sqs.receive_message(QueueUrl=url, VisibilityTimeout=30)["Messages"]
    assert sweep(here)["lost"] == []
    here.advance(60)
    assert sweep(here)["dead_lettered"] == [request_id]


def test_letters_that_there_is_no_time_for_are_read_another_time(here: World) -> None:
    """The sweep ends in time, and takes nothing for lost that it has not looked for."""
    request_id = published(here, Topic.SALES, "key")
    here.lose_to_subscription_dlq(Channel.SLACK)
    here.advance(1_000)
    kept = reconciler.ledger()
    found = kept.check(lambda: TIME_TO_PLACE_MS)
    assert (found.dead_lettered, found.lost, found.open) == ([], [], 0), "and nothing was taken in"
    assert sweep(here)["dead_lettered"] == [request_id]


def test_a_look_that_outlasts_its_hold_may_not_have_seen_all(here: World) -> None:
    """The letters that it began with come again before the others."""
    old_letters(here, 60)
    published(here, Topic.SALES, "new")
    here.lose_to_subscription_dlq(Channel.SLACK)
    here.advance(1_000)
    kept, began = reconciler.ledger(), here.now

    def slow(**_: object) -> None:
        here.traveller.shift(6.5)

    kept.sqs.meta.events.register("before-call.sqs.ReceiveMessage", slow)
    try:
        found = kept.check(lambda: 50_000 - int((here.now - began).total_seconds() * 1_000), dry_run=True)
    finally:
        kept.sqs.meta.events.unregister("before-call.sqs.ReceiveMessage", slow)
    assert found.lost == []


@pytest.mark.parametrize("what", ["a delivery", "a callback"])
def test_what_is_redriven_in_vain_is_not_looked_at_again(here: World, what: str) -> None:
    """Many of them would keep the ledger from what is new."""
    here.calls_back = what == "a callback"
    here.bot.answers = [(410, {})] * 2
    if what == "a delivery":
        here.slack.fail("error", error="is_archived")
        here.breaker.outage = lambda name: Kind.REJECTED if name == "sesv2.SendEmail" else None
    published(here, Topic.SALES, "key")
    here.settle()
    here.redrive()
    here.turn()
    assert here.dead_letters() or here.bodies(f"{CALLBACK}-dlq")
    assert balance_of(reconciler.requests()).reopened == {}


def reused(here: World) -> str:
    """A request under the id of one that is forgotten but for its delivery."""
    request_id = published(here, Topic.SALES, "key")
    here.settle()
    here.advance(91 * 86_400)
    here.cloud.table.delete_item(Key=request_key(request_id))
    assert published(here, Topic.SALES, "key") == request_id
    return request_id


@pytest.mark.parametrize("fate", ["dead-lettered", "lost"])
def test_what_an_earlier_request_has_left_under_the_same_id_hides_nothing(here: World, fate: str) -> None:
    request_id = reused(here)
    if fate == "dead-lettered":
        here.lose_to_subscription_dlq(Channel.SLACK)
    here.aws.purge(Channel.SLACK)
    here.advance(1_000)
    assert sweep(here)[fate.replace("-", "_")] == [request_id]


def test_what_comes_back_by_one_channel_is_as_old_as_it_has_been_open_on_another() -> None:
    balance = Balance(open={"both": "2026-03-01"}, reopened={"both": "2026-03-02", "ended": "2026-03-02"})
    assert balance.on_their_way == {"both": "2026-03-01", "ended": "2026-03-02"}
