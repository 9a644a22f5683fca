"""Rules that the walk can't check: how transitions treat times, budgets and facts that are fixed in its worlds."""

from assistance.domain.record import Attempt, Kind, Outcome, Record, Status
from assistance.domain.transitions import (
    Claim,
    Refused,
    claim,
    confirmed,
    dead_lettered,
    first,
    gave_up,
    put_off,
    resend,
    retry_later,
    returned,
    same_request,
    sent,
)

SLACK, EMAIL = "slack", "email"


def accepted(at: int = 1_000) -> Record:
    return first([SLACK], EMAIL, topic="sales", created_at=at, ttl=at + 90, calls_back=False)


def claimed(record: Record, attempt: str, now: int, *, limit: int = 3) -> tuple[Record, Claim]:
    after, answer = claim(record, SLACK, attempt, now=now, until=now + 10, limit=limit, place="C1")
    assert isinstance(answer, Claim), answer
    return after, answer


def test_a_claim_is_refused_until_its_lock_ends() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    assert claim(record, SLACK, "b", now=9, until=19, limit=3) == (record, Refused.BUSY)
    _, answer = claimed(record, "b", now=10)
    assert [doubt.id for doubt in answer.doubts] == ["a"]


def test_an_attempt_that_was_put_off_uses_no_budget() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = put_off(record, SLACK, "a", "ratelimited", due=30, alone=True)
    _, answer = claimed(record, "b", now=1)
    assert (record.status, answer) == (Status.RETRYING, Claim(number=1, doubts=(), alone=True))


def test_a_delivery_put_off_after_an_attempt_died_waits_for_the_next_attempt() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record, _ = claimed(record, "b", now=10)
    record = put_off(record, SLACK, "b", "ratelimited", due=30)
    delivery = record.deliveries[0]
    assert (delivery.is_under_way, delivery.expected_at, record.status) == (False, 30, Status.RETRYING)
    assert retry_later(record, SLACK, "a", "late", now=11, in_doubt=False, due=40, settles=50) is record
    _, answer = claimed(record, "c", now=30)
    assert answer.doubts == (Attempt("a", 0, place="C1", ended_at=10),)


def test_an_attempt_in_doubt_locks_the_delivery_until_the_doubt_has_settled() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = retry_later(record, SLACK, "a", "timeout", now=5, in_doubt=True, due=6, settles=35)
    assert claim(record, SLACK, "b", now=34, until=44, limit=3)[1] is Refused.BUSY
    _, answer = claimed(record, "b", now=35)
    assert answer.doubts == (Attempt("a", 0, Outcome.RETRYING, "C1", "timeout", in_doubt=True, ended_at=5),)


def test_a_failure_without_doubt_lets_the_next_attempt_go_at_once() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = retry_later(record, SLACK, "a", "down", now=5, in_doubt=False, due=6, settles=35)
    _, answer = claimed(record, "b", now=5)
    assert answer == Claim(number=2, doubts=(), alone=False)


def test_a_redrive_has_a_fresh_budget() -> None:
    record, _ = claimed(first([SLACK], None, topic="sales", created_at=0, ttl=90, calls_back=False), "a", now=0)
    record = gave_up(record, SLACK, "a", "refused", now=1, in_doubt=False, settles=31)
    assert record.status is Status.FAILED
    assert claimed(record, "b", now=2)[1].number == 1


def test_a_claim_after_the_last_attempt_died_only_ends_that_attempt() -> None:
    record, _ = claimed(accepted(), "a", now=0, limit=1)
    record, answer = claimed(record, "b", now=10, limit=1)
    assert answer == Claim(number=1, doubts=(), alone=False, exhausted=True)
    record = gave_up(record, SLACK, "b", "attempts_exhausted", now=11, in_doubt=False, settles=41)
    delivery = record.delivery(SLACK)
    assert delivery
    assert [(each.outcome, each.in_doubt) for each in delivery.attempts] == [(Outcome.FAILED, True)]


def test_a_failure_adds_the_fallback_that_was_stored_with_the_request() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = gave_up(record, SLACK, "a", "refused", now=7, in_doubt=False, settles=37)
    assert [(entry.delivery, entry.since) for entry in record.outbox] == [("fallback", 7)]
    fallback = record.delivery("fallback")
    assert fallback
    assert (fallback.destination, fallback.kind) == (EMAIL, Kind.FALLBACK)


def test_a_channel_of_the_request_can_not_be_its_fallback() -> None:
    assert first([SLACK, EMAIL], EMAIL, topic="sales", created_at=0, ttl=90, calls_back=False).fallback is None


def test_a_new_request_replaces_an_older_record_with_the_same_id() -> None:
    old, new = accepted(at=1_000), accepted(at=2_000)
    assert same_request(old, new) == new
    assert same_request(new, old) is None
    assert same_request(old, accepted(at=1_000)) is old


def test_a_resend_waits_until_the_original_has_ended() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    assert resend(record, "resend-1", SLACK, now=1) is None
    record = sent(record, SLACK, "a", "1.1", now=1)
    again = resend(record, "resend-1", SLACK, now=2)
    assert again
    assert again.status is Status.DELIVERED
    assert [entry.delivery for entry in again.outbox] == ["resend-1"]


def test_feedback_finds_the_delivery_that_sent_the_mail() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    record = sent(record, SLACK, "a", "mail-1", now=1)
    record, known = confirmed(record, "mail-1", at=5)
    assert known
    assert confirmed(record, "mail-1", at=4) == (record, True)
    assert returned(record, "mail-2", "bounce", now=6) == (record, False)
    record, known = returned(record, "mail-1", "bounce", now=6)
    assert (known, record.status) == (True, Status.FAILED)


def test_a_dead_letter_changes_nothing_while_an_attempt_is_under_way() -> None:
    record, _ = claimed(accepted(), "a", now=0)
    assert dead_lettered(record, SLACK, "m", "lost", now=9) is record
    assert dead_lettered(record, SLACK, "m", "lost", now=10).status is Status.FAILED


def test_an_unknown_delivery_is_refused() -> None:
    record = accepted()
    assert claim(record, "resend-9", "a", now=0, until=10, limit=3) == (record, Refused.UNKNOWN)
