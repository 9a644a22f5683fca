"""Tests rules of takes, releases and escalations that the model checker cannot check: names, times and callbacks."""

from dataclasses import replace

from assistance.domain.record import (
    Attempt,
    Delivery,
    End,
    Handled,
    Handling,
    Kind,
    Outcome,
    Record,
    Status,
    Take,
    Untaken,
)
from assistance.domain.takes import ESCALATION, erase, escalate, release, take
from assistance.domain.transitions import (
    FALLBACK,
    Claim,
    Refused,
    claim,
    dead_lettered,
    first,
    gave_up,
    published,
    put_off,
    resend,
    retry_later,
    returned,
    sent,
)
from assistance.history import RequestRecord
from assistance.models import AssistanceRequest

SLACK, EMAIL = "slack", "email"
REQUEST = AssistanceRequest(
    id="00000000-0000-4000-8000-000000000001", topic="sales", description="x", created_at="2026-01-01T00:00:00.000Z"
)
DUE = 1_000 + 30 * 60_000


def accepted(*, fallback: str | None = EMAIL, calls_back: bool = False, escalate_at: int | None = DUE) -> Record:
    return first(Record("sales", 1_000, 90, (SLACK,), fallback, calls_back=calls_back, escalate_at=escalate_at))


def delivered(*, fallback: str | None = EMAIL, calls_back: bool = False) -> Record:
    return sent(accepted(fallback=fallback, calls_back=calls_back), SLACK, "a", "1.1", now=2_000)


def mailed() -> Record:
    """A request that a mail has delivered. Slack is its fallback, and it is to be escalated at the time 9."""
    record = first(Record("sales", 0, 90, (EMAIL,), SLACK, escalate_at=9))
    return sent(record, EMAIL, "a", "m", now=1)


def taken(record: Record, take_id: str = "t1", by: str = "Anna") -> Record:
    return take(record, take_id, by=by, via="slack", now=3_000)[0]


def escalated(record: Record) -> Record:
    return escalate(record, now=DUE)


def by_slack(record: Record, result: str | None = "1.1") -> Record:
    return take(record, "t1", by="Anna", via="slack", delivery=SLACK, result=result, now=3_000)[0]


def test_the_first_person_takes_the_request_and_a_second_person_gets_the_name_of_the_first() -> None:
    record, answer = take(delivered(), "t1", by="Anna", via="slack", now=3_000)
    assert answer == record.taken == Take("t1", "Anna", "slack", 3_000)
    assert take(record, "t2", by="Ben", via="email", now=4_000) == (record, answer)


def test_a_take_that_the_aws_sdk_writes_twice_changes_nothing_the_second_time() -> None:
    record, answer = take(delivered(calls_back=True), "t1", by="Anna", via="slack", now=3_000)
    again, same = take(record, "t1", by="Anna", via="slack", now=3_500)
    assert again is record
    assert same == answer


def test_a_take_that_the_aws_sdk_writes_again_after_the_release_does_not_take_the_request_again() -> None:
    record = release(taken(delivered()), "t1", by="Anna", via="slack", now=4_000)
    again, answer = take(record, "t1", by="Anna", via="slack", now=4_500)
    assert again is record
    assert answer.released_at == 4_000
    record, _ = take(record, "t2", by="Ben", via="email", now=5_000)
    assert take(record, "t1", by="Anna", via="slack", now=5_500)[1].by == "Ben"


def test_another_person_can_take_a_request_that_was_released() -> None:
    record = release(taken(delivered()), "t1", by="operator", via="operator", now=4_000)
    assert record.taken is None
    record, answer = take(record, "t2", by="Ben", via="email", now=5_000)
    assert (answer.by, [each.by for each in record.takes]) == ("Ben", ["Anna", "Ben"])


def test_after_fifty_takes_only_an_operator_may_release_the_request() -> None:
    takes = tuple(Take(str(number), "Anna", "email", 3_000, 4_000) for number in range(50))
    assert [replace(delivered(), takes=takes[:many]).is_released_too_often for many in (49, 50)] == [False, True]


def test_a_release_that_the_aws_sdk_writes_twice_does_not_undo_a_later_take() -> None:
    record = release(taken(delivered(calls_back=True)), "t1", by="Anna", via="slack", now=4_000)
    assert release(record, "t1", by="Anna", via="slack", now=4_500) is record
    record = taken(record, "t2", "Ben")
    assert release(record, "t1", by="Anna", via="slack", now=5_000) is record


def test_a_take_from_a_message_proves_that_an_attempt_with_unknown_outcome_delivered_the_message() -> None:
    record, _ = claim(accepted(), SLACK, "a", now=1_000, until=1_500, limit=3, place="C1")
    record = retry_later(record, SLACK, "a", "timeout", now=1_400, in_doubt=True, due=2_000, settles=9_000)
    record = by_slack(record)
    [attempt] = record.deliveries[0].attempts
    assert attempt == Attempt("a", 1_000, Outcome.DELIVERED, "C1", ended_at=3_000, result="1.1")
    assert record.status is Status.DELIVERED
    assert claim(record, SLACK, "b", now=9_000, until=9_500, limit=3) == (record, Refused.DELIVERED)


def test_a_take_from_a_message_proves_that_the_attempt_still_running_delivered_the_message() -> None:
    record, _ = claim(accepted(), SLACK, "a", now=1_000, until=1_500, limit=3)
    record = by_slack(record)
    assert record.status is Status.DELIVERED
    assert sent(record, SLACK, "a", "1.1", now=4_000) is record
    assert retry_later(record, SLACK, "a", "timeout", now=4_000, in_doubt=True, due=0, settles=0) is record


def test_a_take_from_a_message_records_the_place_of_that_message() -> None:
    attempted, _ = claim(accepted(), SLACK, "a", now=1_000, until=1_500, limit=3, place="C1")
    for record in (attempted, dead_lettered(accepted(), SLACK, "m", "lost", now=2_000)):
        after, _ = take(record, "t1", by="Anna", via="slack", now=3_000, delivery=SLACK, result="1.1", place="C0")
        assert after.deliveries[0].attempts[-1].place == "C0"


def test_a_take_from_the_message_of_a_failed_delivery_changes_the_delivery_to_delivered() -> None:
    record = by_slack(dead_lettered(accepted(), SLACK, "m", "lost", now=2_000))
    assert record.status is Status.DELIVERED
    [_, proof] = record.deliveries[0].attempts
    assert proof == Attempt("t1", 3_000, Outcome.DELIVERED, ended_at=3_000, result="1.1", found=True)


def test_a_take_from_the_fallback_message_keeps_the_failed_status_of_the_original_channel() -> None:
    record, _ = claim(accepted(), SLACK, "a", now=1_000, until=1_500, limit=3)
    record = by_slack(gave_up(record, SLACK, "a", "timeout", now=1_400, in_doubt=True, settles=2_000))
    failed, proof = record.deliveries[0].attempts
    assert (failed.outcome, failed.error, proof.outcome) == (Outcome.FAILED, "timeout", Outcome.DELIVERED)
    assert (record.status, record.deliveries[0].doubts) == (Status.DELIVERED, ())
    assert claim(record, "fallback", "b", now=3_000, until=3_500, limit=3) == (record, Refused.NOT_NEEDED)


def test_a_take_by_a_second_person_also_proves_that_the_message_was_delivered() -> None:
    record, _ = claim(taken(accepted()), SLACK, "a", now=1_000, until=1_500, limit=3)
    record, answer = take(record, "t2", by="Ben", via="slack", delivery=SLACK, result="1.1", now=3_000)
    assert (answer.by, record.status) == ("Anna", Status.DELIVERED)


def test_a_take_from_the_message_of_a_delivered_request_adds_no_attempt() -> None:
    record = delivered()
    assert by_slack(record).deliveries == record.deliveries
    assert by_slack(record, None).deliveries == record.deliveries


def test_a_take_by_one_recipient_of_a_mail_keeps_the_bounce_of_another_recipient() -> None:
    record = sent(first(Record("sales", 0, 90, (EMAIL,))), EMAIL, "a", "m", now=1)
    record = returned(record, "m", "bounce", now=2)
    after, _ = take(record, "t1", by="Anna", via="email", delivery=EMAIL, now=3)
    assert after.deliveries == record.deliveries


def test_a_take_proves_that_the_redriven_mail_with_unknown_outcome_was_delivered_after_a_bounce() -> None:
    record = returned(replace(mailed(), fallback=None), "m", "bounce", now=2)
    record, _ = claim(record, EMAIL, "b", now=3, until=20, limit=3)
    record = retry_later(record, EMAIL, "b", "timeout", now=4, in_doubt=True, due=5, settles=30)
    record, _ = take(record, "t1", by="Anna", via="email", delivery=EMAIL, now=6)
    assert [attempt.outcome for attempt in record.deliveries[0].attempts] == [Outcome.DELIVERED] * 2
    assert record.deliveries[0].final is Outcome.DELIVERED


def test_a_take_from_a_message_whose_delivery_is_not_in_the_record_counts() -> None:
    record, answer = take(delivered(), "t1", by="Anna", via="slack", delivery="resend-9", result="1.1", now=3_000)
    assert record.taken == answer


def test_takes_and_releases_create_callbacks_to_the_bot() -> None:
    record = release(taken(delivered(calls_back=True)), "t1", by="operator", via="operator", now=4_000)
    assert [each.cause for each in record.callbacks] == [
        End(Status.DELIVERED, 2_000),
        Handled(Handling.TAKEN, "Anna", "slack", Status.DELIVERED, 3_000),
        Handled(Handling.RELEASED, "operator", "operator", Status.DELIVERED, 4_000),
    ]
    assert [entry.delivery for entry in record.outbox] == ["callback-1", "callback-2", "callback-3"]
    assert release(taken(delivered()), "t1", by="operator", via="operator", now=4_000).outbox == ()


def test_the_reconciler_watches_a_callback_about_a_take_unless_its_checks_of_new_requests_will_find_it() -> None:
    for minutes, before, watched in ((10, False, False), (10, True, True), (11, False, True)):
        record = replace(delivered(calls_back=True), created_at=0, watched=before)
        after, _ = take(record, "press", by="Anna", via="slack", now=60_000 * minutes)
        assert after.watched is watched
        assert [each.kind for each in after.awaited] == [Kind.CALLBACK, Kind.CALLBACK]


def test_each_callback_has_a_later_time_than_the_ones_before_even_if_the_clock_is_slow() -> None:
    record = release(taken(delivered(calls_back=True)), "t1", by="operator", via="operator", now=1_500)
    record, again = take(record, "t2", by="Bea", via="slack", now=3_001)
    # Without a fallback, the request has failed.
    record = returned(replace(record, fallback=None), "1.1", "bounce", now=3_002)
    assert [each.cause.at for each in record.callbacks if isinstance(each.cause, End | Handled)] == [
        2_000,
        3_000,
        3_001,
        3_002,
        3_003,
    ]
    assert (record.takes[0].released_at, again.at) == (3_001, 3_002)


def test_callbacks_about_takes_and_releases_say_published_if_the_request_is_published_and_not_yet_sent() -> None:
    for record, is_published, status in (
        (accepted(calls_back=True), True, Status.PUBLISHED),
        (accepted(calls_back=True), False, Status.ACCEPTED),
        (delivered(calls_back=True), True, Status.DELIVERED),
    ):
        after, _ = take(record, "t1", by="Anna", via="slack", now=3_000, published=is_published)
        after = release(after, "t1", by="Anna", via="slack", now=4_000, published=is_published)
        told = [each.cause.status for each in after.callbacks if isinstance(each.cause, Handled)]
        assert told == [status, status]


def test_a_callback_about_a_take_or_release_says_accepted_unless_the_caller_knows_of_a_publication() -> None:
    record = release(taken(accepted(calls_back=True)), "t1", by="Anna", via="slack", now=4_000)
    assert [each.cause.status for each in record.callbacks if isinstance(each.cause, Handled)] == 2 * [Status.ACCEPTED]


def test_a_callback_about_a_take_is_not_sent_if_a_callback_about_a_later_release_exists() -> None:
    record = release(taken(delivered(calls_back=True)), "t1", by="Anna", via="slack", now=4_000)
    answers = [claim(record, each.name, "b", now=5_000, until=6_000, limit=3)[1] for each in record.callbacks]
    assert [type(answer) for answer in answers] == [Claim, Refused, Claim]
    assert answers[1] is Refused.NOT_NEEDED


def test_a_take_does_not_cause_a_second_callback_about_the_same_final_status() -> None:
    record = taken(delivered(calls_back=True))
    again = sent(record, SLACK, "b", "1.2", now=5_000)
    assert len(again.callbacks) == len(record.callbacks)


def test_a_request_that_nobody_takes_in_time_is_sent_to_the_fallback_once() -> None:
    record = delivered()
    assert (record.due_at, escalate(record, now=DUE - 1)) == (DUE, record)
    record = escalated(record)
    assert record.delivery(ESCALATION) == Delivery(ESCALATION, EMAIL, Kind.ESCALATION, Untaken(30), wanted_since=DUE)
    assert [(entry.delivery, entry.since) for entry in record.outbox] == [(ESCALATION, DUE)]
    assert escalate(record, now=DUE + 1) is record
    assert record.status is Status.DELIVERED
    record = sent(record, ESCALATION, "b", "the mail", now=DUE + 2)
    assert (record.due_at, record.unfinished, escalate(record, now=2 * DUE)) == (None, (), record)


def test_a_taken_request_is_not_escalated() -> None:
    record = taken(delivered())
    assert record.due_at is None
    assert escalated(record) is record


def test_a_request_that_no_channel_has_delivered_is_not_escalated() -> None:
    assert escalated(accepted()).deliveries == accepted().deliveries
    failed = dead_lettered(accepted(fallback=None), SLACK, "m", "lost", now=2_000)
    assert escalated(failed) is failed


def test_a_released_request_is_escalated_after_its_time_limit_for_taking() -> None:
    record = release(taken(delivered()), "t1", by="Anna", via="slack", now=4_000)
    assert record.due_at == DUE
    assert escalated(record).delivery(ESCALATION)


def test_a_take_cancels_an_unsent_escalation_and_a_release_publishes_the_escalation_again() -> None:
    record = replace(escalated(delivered()), outbox=())
    record = taken(record)
    assert claim(record, ESCALATION, "b", now=DUE, until=DUE + 9, limit=3) == (record, Refused.NOT_NEEDED)
    assert (record.unfinished, record.due_at) == ((), None)
    record = release(record, "t1", by="Anna", via="slack", now=DUE + 1)
    assert [entry.delivery for entry in record.outbox] == [ESCALATION]
    assert [each.name for each in record.unfinished] == [ESCALATION]
    assert isinstance(claim(record, ESCALATION, "c", now=DUE, until=DUE + 9, limit=3)[1], Claim)


def test_an_escalation_that_a_release_starts_again_has_all_its_attempts_although_the_operators_clock_is_slow() -> None:
    record, _ = claim(escalated(delivered()), ESCALATION, "b", now=DUE, until=DUE + 9, limit=3)
    record = retry_later(record, ESCALATION, "b", "down", now=DUE, in_doubt=False, due=DUE + 1, settles=0)
    record, _ = claim(record, ESCALATION, "c", now=DUE + 1, until=DUE + 9, limit=3)
    record = put_off(record, ESCALATION, "c", "limit", now=DUE + 2, due=DUE + 3)
    again = release(taken(record), "t1", by="operator", via="operator", now=DUE - 1).delivery(ESCALATION)
    assert again
    assert (again.attempts_used, again.put_off_since, again.wanted_since) == (0, None, DUE + 3)


def test_a_delivered_resend_does_not_publish_an_escalation_that_is_on_its_way_again() -> None:
    record = resend(escalated(delivered()), "resend-1", SLACK, now=DUE)
    assert record
    record = sent(replace(record, outbox=()), "resend-1", "b", "1.2", now=DUE + 1)
    assert ([each.name for each in record.unfinished], record.outbox) == ([ESCALATION], ())


def test_a_release_after_the_escalation_was_sent_publishes_nothing() -> None:
    record = replace(sent(escalated(delivered()), ESCALATION, "b", "mail", now=DUE), outbox=())
    assert release(taken(record), "t1", by="Anna", via="slack", now=DUE + 1).outbox == ()


def test_an_untaken_request_without_a_fallback_is_reported_once_and_not_escalated() -> None:
    record = delivered(fallback=None)
    after = escalated(record)
    assert (after.deliveries, after.outbox, after.due_at) == (record.deliveries, (), None)
    assert escalate(after, now=2 * DUE) is after


def test_a_request_delivered_by_its_fallback_is_not_escalated() -> None:
    record = dead_lettered(accepted(), SLACK, "m", "lost", now=2_000)
    record = sent(record, "fallback", "b", "mail", now=2_500)
    assert escalated(record).delivery(ESCALATION) is None


def test_the_reconciler_does_not_track_a_delivered_request_without_a_time_limit_for_taking() -> None:
    record = sent(accepted(escalate_at=None), SLACK, "a", "1.1", now=2_000)
    assert (record.watched, record.due_at) == (False, None)
    assert escalated(record) is record


def test_the_fallback_is_not_sent_after_an_escalation_was_delivered_on_the_fallback_channel() -> None:
    record = mailed()
    record = sent(escalate(record, now=9), ESCALATION, "b", "1.1", now=10)
    record = returned(record, "m", "bounce", now=11)
    assert record.status is Status.DELIVERED
    assert claim(record, "fallback", "c", now=12, until=20, limit=3) == (record, Refused.NOT_NEEDED)


def test_an_escalation_is_not_sent_if_the_mail_bounced_and_the_fallback_is_due_anyway() -> None:
    record = mailed()
    record = returned(escalate(record, now=9), "m", "bounce", now=11)
    assert claim(record, ESCALATION, "c", now=12, until=20, limit=3) == (record, Refused.NOT_NEEDED)
    assert isinstance(claim(record, "fallback", "c", now=12, until=20, limit=3)[1], Claim)


def test_the_fallback_waits_while_an_attempt_to_send_an_escalation_is_running() -> None:
    record = mailed()
    record, _ = claim(escalate(record, now=9), ESCALATION, "b", now=10, until=50, limit=3)
    record = returned(record, "m", "bounce", now=11)
    assert claim(record, "fallback", "c", now=12, until=20, limit=3) == (record, Refused.BUSY)


def test_an_escalation_waits_while_an_attempt_to_send_the_fallback_is_running() -> None:
    record = returned(mailed(), "m", "bounce", now=2)
    record, _ = claim(record, "fallback", "b", now=3, until=50, limit=3)
    record = escalate(sent(record, EMAIL, "c", "n", now=4), now=9)
    assert claim(record, ESCALATION, "d", now=10, until=20, limit=3) == (record, Refused.BUSY)
    assert isinstance(claim(record, ESCALATION, "d", now=50, until=60, limit=3)[1], Claim)


def test_the_search_for_an_escalation_that_died_lasts_until_its_claim_has_ended() -> None:
    """Otherwise the fallback would search only for messages that arrived shortly after the attempt's start."""
    record, _ = claim(escalate(mailed(), now=9), ESCALATION, "b", now=10, until=930_000, limit=3)
    record = returned(record, "m", "bounce", now=11)
    _, answer = claim(record, FALLBACK, "c", now=930_000, until=999_999, limit=3)
    assert isinstance(answer, Claim)
    assert [(doubt.id, doubt.ended_at) for doubt in answer.doubts] == [("b", 930_000)]


def test_an_escalation_cancelled_by_a_take_shows_no_next_attempt() -> None:
    record = escalate(delivered(), now=DUE)
    record, _ = claim(record, ESCALATION, "e1", now=DUE, until=DUE + 9, limit=6)
    record = retry_later(record, ESCALATION, "e1", "503", now=DUE + 1, in_doubt=False, due=DUE + 5_000, settles=DUE + 9)
    waiting = RequestRecord(REQUEST, record, published_at=None)
    assert waiting.deliveries[-1].next_attempt_at is not None
    record, _ = take(record, "t", by="Anna", via="slack", now=DUE + 2)
    stopped = RequestRecord(REQUEST, record, published_at=None)
    assert stopped.deliveries[-1].next_attempt_at is None


def test_a_request_with_an_unfinished_redrive_is_not_erased_although_the_operators_clock_is_fast() -> None:
    fast = 120_000
    failed = dead_lettered(first(Record("sales", 0, 90, ("slack",))), "slack", "m", "lost", now=1)
    redriven, _ = claim(failed, "slack", "a", now=2, until=60_000, limit=3)
    assert erase(redriven, now=fast) is None
    later = retry_later(redriven, "slack", "a", "down", now=3, in_doubt=False, due=5_000, settles=0)
    assert erase(later, now=fast) is None
    assert erase(failed, now=fast)


def test_a_request_is_not_erased_while_a_failed_attempt_may_still_deliver_the_message() -> None:
    record, _ = claim(accepted(fallback=None), SLACK, "a", now=1, until=5, limit=3)
    record = gave_up(record, SLACK, "a", "timeout", now=4, in_doubt=True, settles=30)
    assert erase(record, now=29) is None
    assert erase(record, now=30)


def test_a_request_is_not_erased_while_an_attempt_runs_although_a_human_has_used_an_earlier_message() -> None:
    record, _ = claim(accepted(fallback=None), SLACK, "a", now=1, until=5, limit=3)
    record, _ = claim(record, SLACK, "b", now=6, until=30, limit=3)
    record = by_slack(record)
    assert record.status is Status.DELIVERED
    assert erase(record, now=29) is None
    assert erase(record, now=30)


def test_a_request_is_not_erased_while_an_attempt_runs_although_an_earlier_one_has_recorded_its_success_late() -> None:
    record, _ = claim(accepted(fallback=None), SLACK, "a", now=1, until=5, limit=3)
    record, _ = claim(record, SLACK, "b", now=6, until=30, limit=3)
    record = sent(record, SLACK, "a", "1.1", now=7)
    assert erase(record, now=29) is None
    assert erase(record, now=30)


def test_an_erased_request_is_not_escalated() -> None:
    erased = erase(delivered(), now=DUE - 1)
    assert erased
    assert erased.due_at is None
    assert escalated(erased) is erased


def test_an_erased_request_is_neither_sent_nor_resent_but_its_callback_is_sent() -> None:
    ended = dead_lettered(accepted(fallback=None, calls_back=True), SLACK, "m", "lost", now=1)
    erased = erase(ended, now=2)
    assert erased
    assert erase(erased, now=3) is erased
    assert claim(erased, SLACK, "a", now=3, until=9, limit=3) == (erased, Refused.ERASED)
    assert resend(erased, "resend-1", SLACK, now=3) is None
    assert isinstance(claim(erased, "callback-1", "a", now=3, until=9, limit=3)[1], Claim)


def test_a_request_on_its_way_is_not_erased() -> None:
    assert erase(accepted(), now=10_000_000) is None


def test_a_dropped_escalation_that_is_marked_published_afterwards_delays_no_erasure() -> None:
    """The producer publishes the escalation, and a consumer drops it before the producer takes it out of the outbox."""
    record = taken(escalated(delivered()))
    assert claim(record, ESCALATION, "a", now=DUE, until=DUE + 9, limit=3) == (record, Refused.NOT_NEEDED)
    assert erase(published(record, record.outbox, now=DUE + 1), now=DUE + 2)


def test_a_release_after_an_erasure_does_not_publish_the_escalation_again() -> None:
    erased = erase(taken(replace(escalated(delivered()), outbox=())), now=DUE)
    assert erased
    assert release(erased, "t1", by="Anna", via="slack", now=DUE + 1).outbox == ()


def test_a_bounce_after_an_erasure_does_not_publish_the_fallback_again() -> None:
    record = resend(accepted(), "resend-1", EMAIL, now=1)
    assert record
    record = dead_lettered(sent(record, "resend-1", "a", "mail-1", now=2), SLACK, "m", "lost", now=3)
    erased = erase(replace(record, outbox=()), now=10_000_000)
    assert erased
    after = returned(erased, "mail-1", "bounce", now=10_000_001)
    assert (after.status, after.pending, after.outbox) == (Status.FAILED, (), ())


def test_a_bounce_after_an_erasure_adds_no_fallback() -> None:
    record = first(Record("pricing", 0, 90, ("email",), "slack"))
    record, _ = claim(record, "email", "a", now=1, until=5, limit=3)
    record = sent(record, "email", "a", "ses-1", now=2)
    erased = erase(record, now=1_000_000)
    assert erased
    after = returned(erased, "ses-1", "bounce_permanent", now=1_000_001)
    assert after.status is Status.FAILED
    assert RequestRecord(REQUEST, after, published_at=None).fallback is None


def test_a_request_with_an_unfinished_callback_can_be_erased() -> None:
    called = first(Record("sales", 0, 90, ("slack",), calls_back=True))
    ended = dead_lettered(called, "slack", "m", "lost", now=1)
    [callback] = ended.callbacks
    calling, _ = claim(ended, callback.name, "a", now=2, until=60_000, limit=3)
    assert erase(calling, now=3)
