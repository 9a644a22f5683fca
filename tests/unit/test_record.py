"""Tests rules of a record that the model checker cannot check, since the model has no times and no provider ids."""

from dataclasses import replace
from typing import Final

from assistance.domain.record import Attempt, Delivery, End, Kind, Outcome, Record, Status

SLACK = Delivery("slack", "slack", Kind.OWN)
RECORD = Record("sales", 1_000, 90, ("slack",), fallback="email", watched=True, deliveries=(SLACK,))


def with_attempts(*attempts: Attempt, **about: int) -> Delivery:
    return replace(SLACK, attempts=attempts, **about)  # type: ignore[arg-type]


def test_the_next_attempt_is_expected_when_the_claim_expires_or_when_the_retry_is_due() -> None:
    assert with_attempts(Attempt("a", 1), locked_until=10, due_at=20).expected_at == 10
    assert with_attempts(Attempt("a", 1, Outcome.RETRYING), locked_until=10, due_at=20).expected_at == 20
    assert SLACK.expected_at is None


FINAL_AT: Final[list[tuple[list[Attempt], int]]] = [
    ([], 0),
    ([Attempt("a", 1, Outcome.RETRYING, ended_at=2)], 0),
    ([Attempt("a", 1, Outcome.FAILED)], 1),
    ([Attempt("a", 1, Outcome.FAILED, ended_at=2)], 2),
    ([Attempt("a", 1, Outcome.DELIVERED, ended_at=2, returned_at=7)], 7),
    ([Attempt("a", 1, Outcome.DELIVERED, ended_at=2), Attempt("b", 3, Outcome.FAILED, ended_at=4)], 2),
]


def test_the_final_time_of_a_delivery_is_the_end_of_the_attempt_that_set_its_final_status() -> None:
    for attempts, at in FINAL_AT:
        assert with_attempts(*attempts).final_at == at


def test_the_final_time_of_a_request_is_the_final_time_of_its_last_delivery() -> None:
    slack = with_attempts(Attempt("a", 1, Outcome.FAILED, ended_at=2))
    email = Delivery("fallback", "email", Kind.FALLBACK, attempts=(Attempt("b", 3, Outcome.DELIVERED, ended_at=4),))
    assert replace(RECORD, deliveries=(slack, email)).end == End(Status.DELIVERED, 4)
    assert RECORD.end is None


def test_a_record_tracked_by_the_reconciler_is_due_when_its_earliest_delivery_is_due() -> None:
    assert RECORD.due_at == 1_000
    later = replace(SLACK, name="email", due_at=7_000)
    assert replace(RECORD, deliveries=(replace(SLACK, due_at=9_000), later)).due_at == 7_000
    assert replace(RECORD, watched=False).due_at is None
    assert replace(RECORD, deliveries=(with_attempts(Attempt("a", 1, Outcome.DELIVERED)),)).due_at is None


def test_a_resend_on_a_channel_other_than_the_fallback_does_not_count_as_delivered_by_the_fallback() -> None:
    resend = Delivery("resend-1", "email", Kind.RESEND, attempts=(Attempt("a", 1, Outcome.DELIVERED),))
    assert replace(RECORD, deliveries=(SLACK, resend)).status is Status.ACCEPTED
