"""Tests the status that people and bots see: it is computed from the record, and never moves back."""

from dataclasses import replace
from typing import Any

import pytest

from assistance.domain.record import Attempt, Delivery, Kind, Outcome, Record, StandsInFor, Status
from assistance.domain.transitions import claim, sent
from assistance.history import RequestRecord
from assistance.models import AssistanceRequest, Fallback
from assistance.routing import Channel, Topic

NOW = "2026-01-01T00:00:00.000Z"
MS = 1_767_225_600_000
REQUEST = AssistanceRequest(
    id="01900000-0000-7000-8000-000000000000", topic=Topic.SALES, description="help", created_at=NOW
)
SLACK = Delivery("slack", "slack", Kind.OWN)
EMAIL = Delivery("fallback", "email", Kind.FALLBACK, StandsInFor("slack", "is_archived"))
OUTCOMES = {
    Status.SENDING: Outcome.UNKNOWN,
    Status.RETRYING: Outcome.RETRYING,
    Status.DELIVERED: Outcome.DELIVERED,
    Status.FAILED: Outcome.FAILED,
}


def shown(*deliveries: Delivery, published: bool = True, **about: Any) -> RequestRecord:  # noqa: ANN401
    record = Record("sales", MS, 0, ("slack",), fallback="email", deliveries=deliveries)
    return RequestRecord(REQUEST, record, NOW if published else None, **about)


def with_attempts(delivery: Delivery, *statuses: Status) -> Delivery:
    """The delivery with one attempt per second, each with the given outcome."""
    attempts = tuple(Attempt(f"{n}", MS + 1_000 * n, OUTCOMES[status]) for n, status in enumerate(statuses))
    return replace(delivery, attempts=attempts)


def test_the_status_of_a_request_reflects_the_progress_of_its_delivery() -> None:
    assert shown(SLACK, published=False).status is Status.ACCEPTED
    assert shown(SLACK).status is Status.PUBLISHED
    for status in OUTCOMES:
        assert shown(with_attempts(SLACK, status)).status is status


def test_a_delivery_that_waits_after_a_crashed_attempt_does_not_have_status_sending() -> None:
    died = Attempt("a", MS, ended_at=MS + 10_000)
    waits = replace(SLACK, attempts=(died,), due_at=MS + 60_000, waiting_for="ratelimited")
    delivery = shown(waits).deliveries[0]
    assert (delivery.status, delivery.next_attempt_at) == (Status.RETRYING, "2026-01-01T00:01:00.000Z")
    assert [entry.outcome for entry in delivery.timeline] == ["unknown"]


def test_marking_a_request_as_published_late_does_not_move_its_status_back() -> None:
    for status in OUTCOMES:
        done = with_attempts(SLACK, status)
        assert shown(done, published=False).status is shown(done).status


def pending(request: RequestRecord) -> list[str]:
    return [each.destination for each in request.record.pending]


@pytest.mark.parametrize("own", OUTCOMES)
def test_a_request_delivered_by_its_fallback_has_status_delivered(own: Status) -> None:
    request = shown(with_attempts(SLACK, own), with_attempts(EMAIL, Status.DELIVERED))
    assert request.status is Status.DELIVERED
    assert pending(request) == []
    assert request.fallback == Fallback(channel=Channel.EMAIL, failed_channel=Channel.SLACK, error="is_archived")


def test_a_request_whose_fallback_is_not_finished_has_no_final_status() -> None:
    failed = with_attempts(SLACK, Status.FAILED)
    waiting = shown(failed, EMAIL)
    assert (pending(waiting), waiting.record.end) == ([Channel.EMAIL], None)
    both = shown(failed, with_attempts(EMAIL, Status.FAILED))
    assert both.record.end
    assert (pending(both), both.record.end.at) == ([], MS)
    assert pending(shown(failed)) == []
    assert pending(shown(SLACK)) == [Channel.SLACK]


@pytest.mark.parametrize("again", [Status.SENDING, Status.RETRYING])
def test_a_running_attempt_does_not_replace_a_final_status(again: Status) -> None:
    for final in (Status.FAILED, Status.DELIVERED):
        assert shown(with_attempts(SLACK, final, again)).status is final
    assert shown(with_attempts(SLACK, Status.FAILED, again, Status.DELIVERED)).status is Status.DELIVERED


def test_a_crashed_attempt_is_shown_with_unknown_outcome_after_the_next_attempt_begins() -> None:
    [delivery] = shown(with_attempts(SLACK, Status.SENDING, Status.SENDING)).deliveries
    assert [(each.outcome, each.in_doubt) for each in delivery.timeline] == [("unknown", True), ("sending", False)]
    assert (delivery.status, delivery.attempts) == (Status.SENDING, 2)


def test_a_delivery_shows_when_its_next_attempt_is_due_and_why_it_waits() -> None:
    waiting = replace(SLACK, due_at=MS + 5_000, waiting_for="ratelimited")
    [delivery] = shown(waiting).deliveries
    assert (delivery.status, delivery.attempts, delivery.last_error) == (Status.RETRYING, 0, "ratelimited")
    assert delivery.next_attempt_at == "2026-01-01T00:00:05.000Z"


def test_no_next_attempt_is_shown_for_a_fallback_that_is_no_longer_needed() -> None:
    fallback = replace(with_attempts(EMAIL, Status.RETRYING), due_at=MS + 60_000)
    waiting, dropped = (
        shown(with_attempts(SLACK, status), fallback).deliveries[1] for status in (Status.FAILED, Status.DELIVERED)
    )
    assert waiting.next_attempt_at == "2026-01-01T00:01:00.000Z"
    assert dropped.next_attempt_at is None


def test_attempts_are_shown_in_the_order_in_which_they_started() -> None:
    """The first attempt's answer comes after its claim has expired, and the second attempt has begun."""
    record, late = shown(SLACK).record, MS + 40_000
    record, _ = claim(record, "slack", "1", now=MS, until=MS + 10_000, limit=6)
    record, _ = claim(record, "slack", "2", now=late, until=late + 10_000, limit=6)
    record = sent(record, "slack", "1", "message", now=late + 1_000)
    [delivery] = RequestRecord(REQUEST, record, NOW).deliveries
    assert [each.outcome for each in delivery.timeline] == ["delivered", "unknown"]
    assert (delivery.first_attempt_at, delivery.last_attempt_at) == (NOW, "2026-01-01T00:00:40.000Z")


def test_the_history_of_a_bounced_mail_shows_the_times_of_the_send_the_bounce_and_the_ses_confirmation() -> None:
    attempt = Attempt(
        "1", MS, Outcome.DELIVERED, error="bounce_permanent", ended_at=MS, returned_at=MS + 1_000, confirmed_at=MS + 500
    )
    [delivery] = shown(replace(SLACK, attempts=(attempt,))).deliveries
    assert [(each.outcome, each.error) for each in delivery.timeline] == [
        ("delivered", None),
        ("failed", "bounce_permanent"),
    ]
    assert (delivery.status, delivery.delivered_at) == (Status.FAILED, None)
    assert (delivery.failed_at, delivery.confirmed_at) == ("2026-01-01T00:00:01.000Z", "2026-01-01T00:00:00.500Z")


def test_a_message_found_in_a_dead_letter_queue_does_not_count_as_an_attempt() -> None:
    found = Attempt("letter", MS, Outcome.FAILED, error="dead_lettered", ended_at=MS, found=True)
    [delivery] = shown(replace(SLACK, attempts=(found,))).deliveries
    assert (delivery.status, delivery.attempts, delivery.last_error) == (Status.FAILED, 0, "dead_lettered")


def test_a_resend_is_shown_as_a_separate_delivery() -> None:
    again = with_attempts(Delivery("resend-by hand", "slack", Kind.RESEND), Status.DELIVERED)
    request = shown(with_attempts(SLACK, Status.FAILED), again)
    assert [(each.channel, each.resend) for each in request.deliveries] == [("slack", None), ("slack", "by hand")]
    assert request.deliveries[0].status is Status.FAILED
    assert request.status is Status.DELIVERED


def test_a_callback_is_not_shown_as_a_delivery() -> None:
    told = with_attempts(Delivery("callback-1", "callback", Kind.CALLBACK), Status.FAILED)
    request = shown(with_attempts(SLACK, Status.DELIVERED), told)
    assert [each.channel for each in request.deliveries] == ["slack"]
    assert request.status is Status.DELIVERED


def test_only_the_api_key_that_created_a_request_may_read_it() -> None:
    assert shown(SLACK, caller="bot").is_for("bot")
    assert not shown(SLACK, caller="bot").is_for("other")
    assert shown(SLACK).is_for("anybody"), "an early version stored no caller"
