"""Tests rules of transitions that the model checker cannot check: times, attempt limits and stored values."""

from dataclasses import replace
from typing import Any

from assistance.domain.record import Attempt, Delivery, End, Entry, Kind, Outcome, Record, StandsInFor, Status
from assistance.domain.transitions import (
    FALLBACK,
    Claim,
    Refused,
    claim,
    confirmed,
    dead_lettered,
    first,
    first_published,
    gave_up,
    publish,
    published,
    put_off,
    queued,
    resend,
    retry_later,
    returned,
    same_request,
    sent,
    watch,
)

SLACK, EMAIL = "slack", "email"


def accepted(at: int = 1_000) -> Record:
    return first(Record("sales", at, at + 90, (SLACK,), EMAIL))


def claimed(record: Record, attempt: str, now: int, *, limit: int = 3) -> tuple[Record, Claim]:
    after, answer = claim(record, SLACK, attempt, now=now, until=now + 10, limit=limit, place="C1")
    assert isinstance(answer, Claim), answer
    return after, answer


def test_a_second_attempt_is_refused_until_the_lock_of_the_first_attempt_expires() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    assert claim(record, SLACK, "b", now=9, until=19, limit=3) == (record, Refused.BUSY)
    _, answer = claimed(record, "b", now=10)
    assert [doubt.id for doubt in answer.doubts] == ["a"]


def test_a_postponed_attempt_does_not_count_towards_the_attempt_limit() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = put_off(record, SLACK, "a", "ratelimited", now=0, due=30)
    delivery = record.deliveries[0]
    assert (delivery.due_at, delivery.waiting_for, delivery.attempts) == (30, "ratelimited", ())
    record, answer = claimed(record, "b", now=1)
    assert answer == Claim(number=1, doubts=())
    assert (record.deliveries[0].due_at, record.status) == (None, Status.SENDING)


def test_the_time_in_which_a_delivery_is_rate_limited_begins_with_its_first_postponement_and_anew_with_a_redrive() -> (
    None
):
    record = rate_limited(10, 20)
    record, _ = claimed(record, "a", now=30)
    assert limits(record) == (10, 10)
    record = gave_up(record, SLACK, "a", "down", now=40, in_doubt=False, settles=0)
    record, _ = claimed(replace(record, fallback=None, deliveries=record.deliveries[:1]), "c", now=50)
    assert limits(record) == (None, None)
    record = put_off(record, SLACK, "c", "ratelimited", now=60, due=70)
    assert limits(record) == (60, 60)


def test_an_earlier_rate_limit_does_not_count_after_another_failure() -> None:
    record, _ = claimed(rate_limited(10), "a", now=30)
    end: dict[str, Any] = {"now": 30, "in_doubt": False, "due": 40, "settles": 0}
    assert limits(retry_later(record, SLACK, "a", "down", **end)) == (10, None)
    assert limits(retry_later(record, SLACK, "a", "ratelimited", limited=True, **end)) == (10, 10)
    after, _ = claimed(retry_later(record, SLACK, "a", "down", **end), "b", now=50)
    assert limits(put_off(after, SLACK, "b", "ratelimited", now=50, due=50)) == (10, 50)


def test_at_most_fifteen_minutes_of_an_attempts_lateness_count_towards_a_rate_limits_hour() -> None:
    for late_ms, since in ((900_000, 10), (900_001, 11), (7_200_000, 6_300_010)):
        record, _ = claimed(rate_limited(10), "a", now=10 + late_ms)
        assert limits(record) == (10, since)
        after = put_off(record, SLACK, "a", "ratelimited", now=8_000_000, due=8_000_000)
        assert limits(after) == (10, since)


def test_a_late_attempt_does_not_move_an_earlier_budgets_rate_limit_into_the_present_budget() -> None:
    record = rate_limited(10)
    wanted_again = replace(record.deliveries[0], wanted_since=20, due_at=30)
    record, _ = claimed(replace(record, deliveries=(wanted_again,)), "a", now=7_200_000)
    assert limits(record) == (None, None)


def limits(record: Record) -> tuple[int | None, int | None]:
    """Since when the Slack delivery is put off, and since when without another failure."""
    delivery = record.deliveries[0]
    return delivery.put_off_since, delivery.limited_since


def rate_limited(*times: int) -> Record:
    """A request whose Slack delivery was put off at these times. The next attempt is due at the last of them."""
    record = accepted()
    for now in times:
        record, _ = claimed(record, f"{now}", now=now)
        record = put_off(record, SLACK, f"{now}", "ratelimited", now=now, due=now)
    return record


def test_a_delivered_attempt_records_its_own_place_or_the_place_where_a_search_found_the_message() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    for found, place in ((None, "C1"), ("C0", "C0")):
        [attempt] = sent(record, SLACK, "a", "1.1", now=1, place=found).deliveries[0].attempts
        assert attempt.place == place


def test_a_delivery_whose_digest_slack_refused_is_sent_alone_until_it_is_delivered() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    assert not put_off(record, SLACK, "a", "ratelimited", now=0, due=30).deliveries[0].alone
    record = put_off(record, SLACK, "a", "refused_together", now=0, due=30, alone=True)
    record, _ = claimed(record, "b", now=1)
    assert record.deliveries[0].alone
    record, _ = claimed(put_off(record, SLACK, "b", "ratelimited", now=1, due=30), "c", now=2)
    assert record.deliveries[0].alone
    assert not sent(record, SLACK, "c", "1.1", now=3).deliveries[0].alone


def test_a_delivery_postponed_after_a_crashed_attempt_counts_as_waiting_for_the_next_attempt() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record, _ = claimed(record, "b", now=10)
    record = put_off(record, SLACK, "b", "ratelimited", now=1, due=30)
    delivery = record.deliveries[0]
    assert (delivery.is_under_way, delivery.expected_at, record.status) == (False, 30, Status.RETRYING)
    assert retry_later(record, SLACK, "a", "late", now=11, in_doubt=False, due=40, settles=50) is record
    _, answer = claimed(record, "c", now=30)
    assert answer.doubts == (Attempt("a", 0, place="C1", ended_at=10),)


def test_an_attempt_with_unknown_outcome_locks_the_delivery_for_the_configured_delay() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = retry_later(record, SLACK, "a", "timeout", now=5, in_doubt=True, due=6, settles=35)
    assert claim(record, SLACK, "b", now=34, until=44, limit=3) == (record, Refused.BUSY)
    _, answer = claimed(record, "b", now=35)
    assert answer.doubts == (Attempt("a", 0, Outcome.RETRYING, "C1", "timeout", in_doubt=True, ended_at=5),)


def test_an_attempt_that_certainly_failed_allows_the_next_attempt_immediately() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = retry_later(record, SLACK, "a", "down", now=5, in_doubt=False, due=6, settles=35)
    _, answer = claimed(record, "b", now=5)
    assert answer == Claim(number=2, doubts=())


def test_a_redrive_has_the_full_number_of_attempts() -> None:
    record, _ = claimed(first(Record("sales", 0, 90, (SLACK,))), "a", now=0)
    record = gave_up(record, SLACK, "a", "refused", now=1, in_doubt=False, settles=31)
    assert record.status is Status.FAILED
    assert claimed(record, "b", now=2)[1].number == 1


def test_an_attempt_after_the_last_allowed_attempt_crashed_only_records_the_failure() -> None:
    record, _ = claimed(accepted(), "a", now=0, limit=1)
    record, answer = claimed(record, "b", now=10, limit=1)
    assert answer == Claim(number=1, doubts=(), exhausted=True)
    record = gave_up(record, SLACK, "b", "attempts_exhausted", now=11, in_doubt=False, settles=41)
    delivery = record.delivery(SLACK)
    assert delivery
    assert [(each.outcome, each.in_doubt) for each in delivery.attempts] == [(Outcome.FAILED, True)]


def test_a_failure_starts_the_fallback_that_is_stored_with_the_request() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = gave_up(record, SLACK, "a", "refused", now=7, in_doubt=False, settles=37)
    assert [(entry.delivery, entry.since) for entry in record.outbox] == [("fallback", 7)]
    fallback = record.delivery("fallback")
    assert fallback
    assert (fallback.destination, fallback.kind) == (EMAIL, Kind.FALLBACK)
    assert fallback.cause == StandsInFor(SLACK, "refused")


def test_a_channel_on_which_the_request_is_already_sent_cannot_be_its_fallback() -> None:
    assert first(Record("sales", 0, 90, (SLACK, EMAIL), EMAIL)).fallback is None


def test_a_new_request_replaces_an_older_record_with_the_same_id() -> None:
    old, new = accepted(at=1_000), accepted(at=2_000)
    assert same_request(old, new) == new
    assert same_request(new, old) is None
    assert same_request(old, accepted(at=1_000)) is old
    kept = same_request(replace(old, version=7), new)
    assert kept
    assert kept.version == 7


def test_a_resend_is_refused_until_the_original_delivery_has_a_final_status() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    assert resend(record, "resend-1", SLACK, now=1) is None
    record = sent(record, SLACK, "a", "1.1", now=1)
    again = resend(record, "resend-1", SLACK, now=2)
    assert again
    assert again.status is Status.DELIVERED
    assert [entry.delivery for entry in again.outbox] == ["resend-1"]
    assert again.watched
    assert resend(again, "resend-1", SLACK, now=3) is again


def test_a_resend_can_use_any_channel() -> None:
    record = resend(accepted(), "resend-1", EMAIL, now=1)
    assert record
    assert [(each.name, each.destination) for each in record.deliveries] == [(SLACK, SLACK), ("resend-1", EMAIL)]


def test_an_ses_event_applies_to_the_delivery_that_sent_the_mail() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = sent(record, SLACK, "a", "mail-1", now=1)
    assert confirmed(record, "mail-2", at=5) is record
    assert record.sent_as("mail-2") is None
    record = confirmed(record, "mail-1", at=5)
    for at in (4, 5):
        assert confirmed(record, "mail-1", at=at) is record
    assert confirmed(record, "mail-1", at=6).deliveries[0].attempts[0].confirmed_at == 6
    assert returned(record, "mail-2", "bounce", now=6) is record
    record = returned(record, "mail-1", "bounce", now=6)
    assert (record.status, record.watched) == (Status.FAILED, True)
    attempt = record.deliveries[0].attempts[0]
    assert (attempt.error, attempt.returned_at, attempt.confirmed_at) == ("bounce", 6, 5)
    assert record.sent_as("mail-1") == (record.deliveries[0], attempt)
    assert returned(record, "mail-1", "bounce", now=7) is record


def test_an_ses_event_changes_only_the_attempt_that_sent_the_mail() -> None:
    attempts = (
        Attempt("a", 1, Outcome.DELIVERED, result="mail-1"),
        Attempt("b", 2, Outcome.DELIVERED, result="mail-2"),
    )
    slack = replace(accepted().deliveries[0], attempts=attempts)
    record = confirmed(replace(accepted(), deliveries=(slack,)), "mail-2", at=5)
    assert [each.confirmed_at for each in record.deliveries[0].attempts] == [None, 5]


def test_a_dead_letter_does_not_change_a_delivery_while_an_attempt_is_running() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    assert dead_lettered(record, SLACK, "m", "lost", now=9) is record
    found = dead_lettered(record, SLACK, "m", "lost", now=10)
    assert found.status is Status.FAILED
    assert found.deliveries[0].attempts[-1] == Attempt("m", 10, Outcome.FAILED, error="lost", ended_at=10, found=True)


def test_the_search_for_an_attempt_that_died_lasts_until_its_claim_has_ended_although_it_was_dead_lettered() -> None:
    """Otherwise a redrive would search only for messages that arrived shortly after the attempt's start."""
    record, _ = claim(first(Record("sales", 0, 9_000, (SLACK,))), SLACK, "a", now=2_000, until=930_000, limit=3)
    record = dead_lettered(record, SLACK, "m", "lost", now=940_000)
    _, answer = claimed(record, "b", now=950_000)
    assert [(doubt.id, doubt.ended_at) for doubt in answer.doubts] == [("a", 930_000)]


def test_a_delivery_with_a_final_status_has_no_next_attempt() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    waits = retry_later(record, SLACK, "a", "down", now=1, in_doubt=False, due=9, settles=31)
    assert waits.deliveries[0].due_at == 9
    put = put_off(record, SLACK, "a", "ratelimited", now=0, due=9)
    for delivery in (
        sent(record, SLACK, "a", "1.1", now=2).deliveries[0],
        sent(waits, SLACK, "a", "1.1", now=2).deliveries[0],
        sent(put, SLACK, "a", "1.1", now=2).deliveries[0],
        dead_lettered(waits, SLACK, "m", "lost", now=2).deliveries[0],
        dead_lettered(put, SLACK, "m", "lost", now=2).deliveries[0],
    ):
        assert delivery.final
        assert (delivery.due_at, delivery.waiting_for, delivery.locked_until) == (None, None, 0)


def test_a_delivered_attempt_keeps_the_slack_channel_of_its_post_and_has_no_error_and_no_unknown_outcome() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = retry_later(record, SLACK, "a", "timeout", now=1, in_doubt=True, due=9, settles=31)
    record = sent(record, SLACK, "a", "1.1", now=2)
    assert record.deliveries[0].attempts == (Attempt("a", 0, Outcome.DELIVERED, "C1", ended_at=2, result="1.1"),)


def test_a_delivery_is_expected_from_the_time_when_its_message_was_published() -> None:
    record = publish(accepted(), SLACK, now=5)
    assert record.outbox == (Entry(SLACK, 5),)
    assert published(record, [Entry(SLACK, 4)], now=9) is record
    marked = published(record, [Entry(SLACK, 5)], now=9)
    assert (marked.outbox, marked.deliveries[0].due_at) == ((), 9)
    later = replace(record, deliveries=(replace(record.deliveries[0], due_at=20),))
    assert published(later, [Entry(SLACK, 5)], now=9).deliveries[0].due_at == 20


def test_the_publication_of_one_delivery_does_not_change_the_others() -> None:
    record = first(Record("sales", 0, 90, (SLACK, EMAIL)))
    record = publish(publish(record, SLACK, now=5), EMAIL, now=5)
    record = published(record, [Entry(SLACK, 5)], now=9)
    assert [delivery.due_at for delivery in record.deliveries] == [9, None]


def test_the_publication_of_one_delivery_does_not_end_an_attempt_of_another_delivery() -> None:
    record = first(Record("sales", 0, 90, (SLACK, EMAIL)))
    record, _ = claimed(record, "a", now=0)
    assert publish(record, EMAIL, now=10).deliveries == record.deliveries


def test_marking_a_delivery_as_published_late_keeps_the_time_of_an_earlier_attempt() -> None:
    record, _ = claimed(publish(accepted(), SLACK, now=5), "a", now=6)
    assert published(record, [Entry(SLACK, 5)], now=9).deliveries[0].due_at is None
    record = sent(record, SLACK, "a", "1.1", now=7)
    assert published(record, [Entry(SLACK, 5)], now=9).deliveries[0].due_at is None


def test_the_final_status_of_a_resend_causes_a_callback_unless_the_bot_already_knows_the_status() -> None:
    record = first(Record("sales", 0, 90, (SLACK,), calls_back=True))
    record, _ = claimed(record, "a", now=0)
    record = gave_up(record, SLACK, "a", "refused", now=1, in_doubt=False, settles=31)
    # Version 1 did not always store which final status a callback reported.
    for cause, told in ((record.callbacks[0].cause, 1), (None, 2)):
        before = replace(record, deliveries=(record.deliveries[0], replace(record.callbacks[0], cause=cause)))
        again = resend(before, "resend-1", SLACK, now=2)
        assert again
        again, _ = claim(again, "resend-1", "b", now=2, until=12, limit=3)
        again = gave_up(again, "resend-1", "b", "refused", now=3, in_doubt=False, settles=31)
        assert len(again.callbacks) == told


def test_a_fallback_does_not_wait_for_an_attempt_on_a_channel_other_than_the_failed_one() -> None:
    record = first(Record("sales", 0, 90, (SLACK, EMAIL), "teams"))
    record, _ = claim(record, EMAIL, "a", now=0, until=50, limit=3)
    record, _ = claimed(record, "b", now=0)
    record = gave_up(record, SLACK, "b", "refused", now=1, in_doubt=False, settles=31)
    assert isinstance(claim(record, "fallback", "c", now=2, until=12, limit=3)[1], Claim)


def two_channels(fallback: str | None) -> Record:
    """A record whose delivery on the first channel has failed, and whose delivery on the second is unfinished."""
    record = first(Record("sales", 0, 90, (SLACK, EMAIL), fallback))
    return dead_lettered(record, SLACK, "m", "lost", now=1)


def test_a_delivery_does_not_wait_for_the_fallback_of_another_channel() -> None:
    assert isinstance(claim(two_channels("teams"), EMAIL, "a", now=2, until=12, limit=3)[1], Claim)


def test_a_redrive_waits_until_the_fallback_has_a_final_status_and_its_unknown_outcome_is_old_enough() -> None:
    record = dead_lettered(accepted(), SLACK, "m", "lost", now=1)
    assert claim(record, SLACK, "a", now=2, until=12, limit=3) == (record, Refused.BUSY)
    record = with_attempt(record, "b", now=2)
    assert claim(record, SLACK, "a", now=12, until=22, limit=3) == (record, Refused.BUSY)
    record = gave_up(record, FALLBACK, "b", "timeout", now=11, in_doubt=True, settles=41)
    assert claim(record, SLACK, "a", now=40, until=50, limit=3) == (record, Refused.BUSY)
    assert claimed(record, "a", now=41)


def test_a_redrive_does_not_wait_for_a_delivery_on_another_channel() -> None:
    assert claimed(two_channels(None), "a", now=2)


def test_a_redrive_is_not_sent_if_a_resend_was_delivered_on_the_same_channel() -> None:
    record = resend(two_channels(None), "resend-1", SLACK, now=2)
    assert record
    record = sent(record, "resend-1", "a", "1.1", now=3)
    assert record.status is Status.FAILED
    assert claim(record, SLACK, "b", now=4, until=14, limit=3) == (record, Refused.NOT_NEEDED)


def test_a_redrive_waits_for_an_unfinished_resend_on_the_same_channel_and_its_unknown_outcome() -> None:
    record = resend(two_failed_on_slack(None), "resend-1", SLACK, now=2)
    assert record
    assert claim(record, SLACK, "a", now=3, until=13, limit=3) == (record, Refused.BUSY)
    record, _ = claim(record, "resend-1", "r", now=4, until=14, limit=3)
    record = gave_up(record, "resend-1", "r", "timeout", now=5, in_doubt=True, settles=35)
    assert claim(record, SLACK, "a", now=34, until=44, limit=3) == (record, Refused.BUSY)
    assert claimed(record, "a", now=35)


def test_a_redrive_does_not_wait_for_a_resend_on_another_channel() -> None:
    record = resend(two_failed_on_slack(None), "resend-1", EMAIL, now=2)
    assert record
    assert claimed(record, "a", now=3)


def test_a_first_attempt_does_not_wait_for_a_resend() -> None:
    """The fallback has delivered, so an operator may resend on a channel whose own message has not come yet."""
    record = sent(two_failed_on_slack(EMAIL), FALLBACK, "f", "mail-1", now=2)
    again = resend(record, "resend-1", "teams", now=3)
    assert again
    assert isinstance(claim(again, "teams", "a", now=4, until=14, limit=3)[1], Claim)


def test_a_fallback_waits_for_an_unfinished_resend_on_the_same_channel() -> None:
    record = resend(accepted(), "resend-1", EMAIL, now=1)
    assert record
    record = dead_lettered(record, SLACK, "m", "lost", now=2)
    assert claim(record, FALLBACK, "a", now=3, until=13, limit=3) == (record, Refused.BUSY)
    record = sent(record, "resend-1", "r", "mail-1", now=4)
    assert claim(record, FALLBACK, "a", now=5, until=15, limit=3) == (record, Refused.NOT_NEEDED)


def test_a_fallback_is_not_published_if_a_resend_was_delivered_on_the_fallback_channel() -> None:
    record = resend(accepted(), "resend-1", EMAIL, now=1)
    assert record
    record = sent(published(record, record.outbox, now=2), "resend-1", "a", "mail-1", now=3)
    record = dead_lettered(record, SLACK, "m", "lost", now=4)
    assert (record.status, record.outbox) == (Status.DELIVERED, ())


def test_the_fallback_is_published_if_the_resend_that_made_it_unnecessary_bounces() -> None:
    record = resend(accepted(), "resend-1", EMAIL, now=1)
    assert record
    record = sent(published(record, record.outbox, now=2), "resend-1", "a", "mail-1", now=3)
    record = dead_lettered(record, SLACK, "m", "lost", now=4)
    record = returned(record, "mail-1", "bounce", now=5)
    assert (record.status, record.outbox) == (Status.FAILED, (Entry("fallback", 5),))


def test_the_fallback_of_a_failure_without_an_error_code_has_no_error_code() -> None:
    # Version 1 did not always store the error code.
    record = resend(accepted(), "resend-1", EMAIL, now=1)
    assert record
    record = dead_lettered(sent(record, "resend-1", "a", "mail-1", now=2), SLACK, "m", "lost", now=3)
    own, *others = record.deliveries
    uncoded = replace(own, attempts=(replace(own.attempts[0], error=None),))
    record = returned(replace(record, deliveries=(uncoded, *others)), "mail-1", "bounce", now=4)
    assert fallback_of(record).cause == StandsInFor(SLACK, "")


def test_a_failed_resend_on_a_channel_that_is_not_in_the_route_starts_no_fallback() -> None:
    # Version 1 may have left a failed request without its fallback, if the routes had none then.
    record = replace(dead_lettered(replace(accepted(), fallback=None), SLACK, "m", "lost", now=1), fallback=EMAIL)
    again = resend(record, "resend-1", "teams", now=2)
    assert again
    for failed in (
        dead_lettered(again, "resend-1", "n", "lost", now=3),
        returned(sent(again, "resend-1", "a", "mail-1", now=3), "mail-1", "bounce", now=4),
    ):
        assert failed.deliveries[-1].final is Outcome.FAILED
        assert failed.delivery("fallback") is None


def test_a_bounce_publishes_the_fallback_again_although_the_fallback_had_failed_before() -> None:
    record = dead_lettered(accepted(), SLACK, "m", "lost", now=1)
    record = dead_lettered(published(record, record.outbox, now=2), "fallback", "n", "lost", now=3)
    record = returned(sent(record, SLACK, "a", "mail-1", now=4), "mail-1", "bounce", now=5)
    assert (record.status, record.outbox) == (Status.FAILED, (Entry("fallback", 5),))


def test_the_failures_of_two_channels_publish_one_fallback() -> None:
    record = first(Record("sales", 0, 90, (SLACK, EMAIL), "teams"))
    record = dead_lettered(record, SLACK, "m", "lost", now=1)
    record = dead_lettered(record, EMAIL, "n", "lost", now=2)
    assert record.outbox == (Entry("fallback", 1),)


def test_a_finished_attempt_stays_unchanged_if_the_attempt_limit_is_lowered() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = retry_later(record, SLACK, "a", "down", now=1, in_doubt=False, due=2, settles=31)
    after, answer = claimed(record, "b", now=2, limit=1)
    assert answer == Claim(number=2, doubts=())
    assert after.deliveries[0].attempts[0] == record.deliveries[0].attempts[0]


def test_a_bounced_mail_does_not_fail_the_delivery_if_another_mail_of_the_same_delivery_arrived() -> None:
    record = first(Record("sales", 0, 90, (SLACK,), calls_back=True))
    record, _ = claimed(record, "a", now=0)
    record, _ = claimed(record, "b", now=10)
    record = sent(sent(record, SLACK, "a", "mail-1", now=11), SLACK, "b", "mail-2", now=12)
    after = returned(record, "mail-1", "bounce", now=13)
    assert (after.status, after.callbacks, after.outbox) == (Status.DELIVERED, record.callbacks, record.outbox)


def test_the_reconciler_tracks_a_record_until_every_channel_has_delivered() -> None:
    record = watch(first(Record("sales", 0, 90, (SLACK, EMAIL))))
    assert sent(record, SLACK, "a", "1.1", now=1).watched


def test_the_reconciler_tracks_a_request_until_its_final_status() -> None:
    record = watch(accepted())
    assert record.watched
    assert watch(record) is record
    record, _ = claimed(accepted(), "a", now=0)
    record = sent(record, SLACK, "a", "1.1", now=1)
    assert watch(record) is record


def test_an_attempt_for_an_unknown_delivery_is_refused() -> None:
    record = accepted()
    assert claim(record, "resend-9", "a", now=0, until=10, limit=3) == (record, Refused.UNKNOWN)


def test_the_delivery_on_a_second_channel_causes_no_second_callback() -> None:
    record = first(Record("sales", 0, 90, (SLACK, "teams"), EMAIL, calls_back=True))
    record, _ = claimed(record, "a", now=0)
    record = gave_up(record, SLACK, "a", "refused", now=1, in_doubt=False, settles=31)
    record = sent(record, "fallback", "b", "the mail", now=2)
    assert [each.cause for each in record.callbacks] == [End(Status.DELIVERED, 2)]
    record = sent(record, "teams", "c", "the post", now=3)
    assert len(record.callbacks) == 1
    record = returned(record, "the mail", "bounce_permanent", now=4)
    assert [each.cause for each in record.callbacks][1:] == [End(Status.FAILED, 4)]


def test_the_result_of_an_unknown_delivery_changes_nothing() -> None:
    record, name = accepted(), "resend-9"
    for after in (
        sent(record, name, "a", "1.1", now=0),
        put_off(record, name, "a", "ratelimited", now=0, due=0),
        retry_later(record, name, "a", "down", now=0, in_doubt=True, due=0, settles=0),
        gave_up(record, name, "a", "refused", now=0, in_doubt=True, settles=0),
        dead_lettered(record, name, "m", "lost", now=0),
    ):
        assert after is record


def test_a_later_attempt_records_a_crashed_attempt_as_failed_if_the_attempt_limit_was_lowered() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record, _ = claimed(record, "b", now=20)
    record = put_off(record, SLACK, "b", "ratelimited", now=1, due=30)
    record, answer = claimed(record, "c", now=40, limit=1)
    assert isinstance(answer, Claim)
    assert answer.exhausted
    record = gave_up(record, SLACK, "c", "attempts_exhausted", now=41, in_doubt=False, settles=71)
    assert record.status is Status.FAILED


def two_failed_on_slack(fallback: str | None) -> Record:
    record = first(Record("sales", 0, 90, (SLACK, "teams"), fallback))
    return dead_lettered(record, SLACK, "m", "lost", now=1)


def test_a_failure_without_a_fallback_publishes_nothing() -> None:
    assert two_failed_on_slack(None).outbox == ()


def test_a_redrive_is_not_sent_after_a_resend_on_the_same_channel_although_another_channel_failed() -> None:
    record = dead_lettered(two_failed_on_slack(None), "teams", "n", "lost", now=2)
    resent = resend(record, "resend-1", SLACK, now=3)
    assert resent
    record = sent(resent, "resend-1", "a", "1.1", now=4)
    assert claim(record, SLACK, "b", now=5, until=9, limit=3) == (record, Refused.NOT_NEEDED)


def test_a_fallback_is_no_longer_pending_after_the_channel_that_had_failed_has_delivered() -> None:
    record = two_failed_on_slack(EMAIL)
    assert [each.name for each in record.pending] == ["teams", "fallback"]
    record = sent(record, SLACK, "a", "1.1", now=2)
    assert [each.name for each in record.pending] == ["teams"]
    assert claim(record, "fallback", "b", now=3, until=9, limit=3) == (record, Refused.NOT_NEEDED)


def test_a_fallback_mail_that_bounced_is_not_published_again() -> None:
    record = dead_lettered(accepted(), SLACK, "m", "lost", now=1)
    record = sent(published(record, record.outbox, now=2), "fallback", "a", "mail-1", now=3)
    record = returned(record, "mail-1", "bounce", now=4)
    assert (record.status, record.outbox) == (Status.FAILED, ())


def marked_unneeded(record: Record) -> Record:
    """Deliver a resend on Slack, so that the record, whose first message has bounced, needs no fallback any more."""
    again = resend(record, "resend-1", SLACK, now=50)
    assert again
    return sent(published(again, again.outbox, now=51), "resend-1", "r", "mail-2", now=52)


def bounced() -> Record:
    record = sent(claimed(accepted(), "a", now=0)[0], SLACK, "a", "mail-1", now=1)
    record = returned(record, "mail-1", "bounce", now=2)
    return published(record, record.outbox, now=3)


def with_attempt(record: Record, attempt: str, now: int) -> Record:
    record, answer = claim(record, FALLBACK, attempt, now=now, until=now + 10, limit=2)
    assert isinstance(answer, Claim)
    return record


def fallback_of(record: Record) -> Delivery:
    found = record.delivery(FALLBACK)
    assert found
    return found


def test_a_fallback_started_a_second_time_has_all_attempts_again_and_remembers_unknown_outcomes() -> None:
    record = with_attempt(with_attempt(bounced(), "b", now=10), "c", now=30)
    record = returned(marked_unneeded(record), "mail-2", "complaint", now=60)
    fallback = fallback_of(record)
    assert (fallback.attempts_used, fallback.is_under_way, fallback.expected_at) == (0, False, None)
    assert (fallback.wanted_since, fallback.cause) == (60, StandsInFor(SLACK, "bounce"))
    record, answer = claim(record, FALLBACK, "d", now=61, until=71, limit=2)
    assert isinstance(answer, Claim)
    assert (answer.number, answer.exhausted, [each.id for each in answer.doubts]) == (1, False, ["b", "c"])
    assert [each.ended_at for each in fallback_of(record).attempts] == [20, 40, None]


def test_a_running_fallback_attempt_continues_when_the_fallback_is_started_a_second_time() -> None:
    record = returned(marked_unneeded(with_attempt(bounced(), "b", now=45)), "mail-2", "bounce", now=54)
    assert (fallback_of(record).is_under_way, fallback_of(record).attempts_used) == (True, 0)
    record = retry_later(record, FALLBACK, "b", "down", now=54, in_doubt=False, due=60, settles=0)
    assert (fallback_of(record).due_at, fallback_of(record).attempts_used) == (60, 0)


def test_a_cancelled_fallback_forgets_its_earlier_rate_limit() -> None:
    record = put_off(with_attempt(bounced(), "b", now=10), FALLBACK, "b", "ratelimited", now=11, due=40)
    assert fallback_of(record).put_off_since == 11
    record = returned(marked_unneeded(record), "mail-2", "bounce", now=60)
    assert fallback_of(record).put_off_since is None
    record = put_off(with_attempt(record, "c", now=60), FALLBACK, "c", "ratelimited", now=60, due=90)
    assert fallback_of(record).put_off_since == 60


def test_a_cancelled_fallback_has_no_next_attempt() -> None:
    waiting = retry_later(
        with_attempt(bounced(), "b", now=10), FALLBACK, "b", "down", now=11, in_doubt=False, due=40, settles=0
    )
    limited = put_off(with_attempt(bounced(), "b", now=10), FALLBACK, "b", "ratelimited", now=11, due=40)
    doubtful = retry_later(
        with_attempt(bounced(), "b", now=10), FALLBACK, "b", "timeout", now=11, in_doubt=True, due=40, settles=99
    )
    for before in (waiting, limited, doubtful, with_attempt(bounced(), "b", now=10)):
        record, answer = claim(marked_unneeded(before), FALLBACK, "c", now=55, until=65, limit=2)
        fallback = fallback_of(record)
        assert answer is Refused.NOT_NEEDED
        assert (fallback.expected_at, fallback.waiting_for, fallback.is_under_way) == (None, None, False)
        assert claim(record, FALLBACK, "d", now=56, until=66, limit=2) == (record, Refused.NOT_NEEDED)
        assert claim(record, FALLBACK, "d", now=56, until=66, limit=2)[0] is record


def test_an_unneeded_fallback_that_is_marked_published_late_delays_no_resend_on_its_channel() -> None:
    record = dead_lettered(accepted(), SLACK, "m", "lost", now=1)
    record = published(sent(record, SLACK, "a", "1.1", now=2), record.outbox, now=3)
    assert claim(record, FALLBACK, "b", now=4, until=14, limit=3) == (record, Refused.NOT_NEEDED)
    assert resend(record, "resend-1", EMAIL, now=5)


def test_an_unneeded_fallback_is_not_cancelled_while_an_attempt_to_send_it_is_running() -> None:
    record = marked_unneeded(with_attempt(bounced(), "b", now=50))
    assert claim(record, FALLBACK, "c", now=59, until=69, limit=2)[0] is record
    assert sent(record, FALLBACK, "b", "1.1", now=59).delivery(FALLBACK) != record.delivery(FALLBACK)


def test_a_fallback_started_a_second_time_names_the_channel_that_failed_most_recently() -> None:
    again = resend(two_failed_on_slack(EMAIL), "resend-1", SLACK, now=2)
    assert again
    record = dead_lettered(sent(again, "resend-1", "r", "1.1", now=3), "teams", "n", "webhook_gone", now=4)
    assert fallback_of(record).cause == StandsInFor("teams", "webhook_gone")


def test_a_fallback_started_after_a_bounced_resend_names_the_channel_that_failed_most_recently() -> None:
    again = resend(two_failed_on_slack(None), "resend-1", EMAIL, now=2)
    assert again
    record = sent(replace(again, fallback=EMAIL), "resend-1", "r", "mail-1", now=3)
    record = dead_lettered(record, "teams", "n", "webhook_gone", now=4)
    record = returned(record, "mail-1", "bounce", now=5)
    assert fallback_of(record).cause == StandsInFor("teams", "webhook_gone")


def test_a_delivery_published_again_after_a_crashed_attempt_does_not_count_as_being_sent() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    assert publish(record, SLACK, now=9).deliveries == record.deliveries
    record = publish(record, SLACK, now=10)
    [delivery] = record.deliveries
    assert (delivery.is_under_way, delivery.doubts) == (False, (Attempt("a", 0, place="C1", ended_at=10),))
    assert (delivery.attempts_used, delivery.wanted_since) == (1, 0)
    assert published(record, record.outbox, now=12).deliveries[0].expected_at == 12


def test_a_request_published_late_is_expected_from_the_time_of_the_publication() -> None:
    record = queued(accepted(), SLACK, now=9_000)
    assert record.deliveries[0].expected_at == 9_000
    assert queued(record, SLACK, now=9_000) is record
    record, _ = claimed(accepted(), "a", now=0)
    assert queued(record, SLACK, now=9_000) is record
    record = sent(record, SLACK, "a", "1.1", now=1)
    assert queued(record, SLACK, now=9_000) is record


def test_the_time_of_the_first_publication_changes_no_attempt_that_has_another_time() -> None:
    record = first_published(accepted(), at=9_000)
    assert [(each.name, each.due_at) for each in record.deliveries] == [(SLACK, 9_000)]
    assert first_published(record, at=10_000) is record
    record, _ = claimed(accepted(), "a", now=0)
    assert first_published(record, at=9_000) is record
    record = publish(record, SLACK, now=10)
    assert not record.deliveries[0].is_under_way
    assert first_published(record, at=9_000) is record
    record = replace(record, deliveries=(), outbox=())
    record = resend(record, "resend-1", SLACK, now=0) or record
    assert first_published(record, at=9_000) is record


def test_a_resend_is_refused_until_a_redriven_message_has_had_time_to_be_processed() -> None:
    record = dead_lettered(replace(accepted(), fallback=None), SLACK, "m", "lost", now=1)
    assert resend(record, "resend-1", SLACK, now=2)
    record, _ = claimed(record, "a", now=2)
    waiting = retry_later(record, SLACK, "a", "down", now=3, in_doubt=False, due=12, settles=0)
    for redriven in (record, waiting):
        assert resend(redriven, "resend-1", SLACK, now=900_011) is None
        assert resend(redriven, "resend-1", EMAIL, now=3)
        assert resend(redriven, "resend-1", SLACK, now=900_012)


def test_the_attempts_of_a_resend_count_towards_its_limit_although_the_operators_clock_was_fast() -> None:
    record = sent(claimed(accepted(), "a", now=0)[0], SLACK, "a", "1.1", now=1)
    again = resend(record, "resend-1", SLACK, now=3_600)
    assert again
    again, _ = claim(again, "resend-1", "b", now=2, until=12, limit=2)
    again = put_off(again, "resend-1", "b", "ratelimited", now=3, due=4)
    again, _ = claim(again, "resend-1", "c", now=5, until=15, limit=2)
    again, answer = claim(again, "resend-1", "d", now=16, until=26, limit=2)
    assert isinstance(answer, Claim)
    assert answer.number == 2
    delivery = again.delivery("resend-1")
    assert delivery
    assert (delivery.wanted_since, delivery.put_off_since) == (2, 3)


def test_a_claim_that_the_aws_sdk_writes_twice_counts_once() -> None:
    record, answer = claimed(accepted(), "a", now=0)
    assert claimed(record, "a", now=1) == (record, answer)


def test_the_outcome_of_an_attempt_that_no_longer_holds_the_claim_is_not_recorded() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record, _ = claimed(record, "b", now=10)
    assert put_off(record, SLACK, "a", "ratelimited", now=11, due=30) is record
    assert gave_up(record, SLACK, "a", "refused", now=11, in_doubt=False, settles=41) is record


def test_a_request_with_a_failed_attempt_that_will_be_repeated_is_retrying() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = retry_later(record, SLACK, "a", "down", now=1, in_doubt=False, due=30, settles=0)
    assert record.status is Status.RETRYING


def test_a_second_dead_letter_of_a_failed_delivery_changes_nothing() -> None:
    record = dead_lettered(accepted(), SLACK, "m", "lost", now=1)
    assert dead_lettered(record, SLACK, "n", "lost", now=2) is record


def test_a_bounce_starts_no_fallback_if_a_resend_has_arrived_on_the_channel() -> None:
    mailed = sent(first(Record("sales", 0, 90, (EMAIL,), SLACK)), EMAIL, "a", "mail-1", now=1)
    record = resend(mailed, "resend-1", EMAIL, now=2)
    assert record
    record = returned(sent(record, "resend-1", "b", "mail-2", now=3), "mail-1", "bounce", now=4)
    assert (record.status, record.delivery(FALLBACK)) == (Status.DELIVERED, None)


def test_an_operator_can_redrive_a_failed_resend_of_a_delivered_request() -> None:
    delivered = sent(accepted(), SLACK, "a", "1.1", now=1)
    record = resend(delivered, "resend-1", SLACK, now=2)
    assert record
    record = dead_lettered(record, "resend-1", "m", "lost", now=3)
    assert isinstance(claim(record, "resend-1", "b", now=4, until=14, limit=3)[1], Claim)
