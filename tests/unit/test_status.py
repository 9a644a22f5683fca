"""A status follows from what has happened, and only moves forward."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistance.items import delivery_of
from assistance.models import AssistanceRequest, Delivery, Fallback, RequestRecord, Status
from assistance.routing import ROUTES, Channel, Topic

NOW = "2026-01-01T00:00:00.000Z"
REQUEST = AssistanceRequest(
    id="01900000-0000-7000-8000-000000000000", topic=Topic.SALES, description="help", created_at=NOW
)
FALLBACK = Fallback(channel=Channel.EMAIL, failed_channel=Channel.SLACK, error="is_archived")


def record(*deliveries: Delivery, published: bool = True, fallback: Fallback | None = None) -> RequestRecord:
    return RequestRecord(
        REQUEST, ROUTES[REQUEST.topic].channels, NOW if published else None, deliveries, fallback=fallback
    )


def delivery(channel: Channel, status: Status) -> Delivery:
    return Delivery(channel=channel, status=status, attempts=1)


def test_a_request_reads_as_far_as_it_has_come() -> None:
    assert record(published=False).status is Status.ACCEPTED
    assert record().status is Status.PUBLISHED
    for status in (Status.SENDING, Status.RETRYING, Status.DELIVERED, Status.FAILED):
        assert record(delivery(Channel.SLACK, status)).status is status


def test_a_late_mark_of_the_publication_moves_nothing_back() -> None:
    for status in (Status.SENDING, Status.RETRYING, Status.DELIVERED, Status.FAILED):
        done = delivery(Channel.SLACK, status)
        assert record(done, published=False).status is record(done).status


@given(failed=st.sampled_from([Status.FAILED, Status.RETRYING, Status.SENDING]))
def test_what_the_fallback_delivered_is_delivered(failed: Status) -> None:
    both = (delivery(Channel.SLACK, failed), delivery(Channel.EMAIL, Status.DELIVERED))
    assert record(*both, fallback=FALLBACK).status is Status.DELIVERED


def test_a_request_whose_fallback_is_under_way_has_not_ended() -> None:
    failed = delivery(Channel.SLACK, Status.FAILED)
    assert record(failed, fallback=FALLBACK).pending == (Channel.EMAIL,)
    assert record(failed, delivery(Channel.EMAIL, Status.FAILED), fallback=FALLBACK).pending == ()
    assert record(failed).pending == ()


def test_what_is_delivered_or_was_never_attempted_is_told_so() -> None:
    delivered, failed = delivery(Channel.EMAIL, Status.DELIVERED), delivery(Channel.SLACK, Status.FAILED)
    assert record(failed, delivered, fallback=FALLBACK).pending == ()
    assert record().pending == (Channel.SLACK,)
    assert record(failed).delivery(Channel.SLACK) is failed
    assert record(failed).delivery(Channel.EMAIL) is None


@pytest.mark.parametrize("under_way", ["sending", "retrying"])
def test_an_attempt_under_way_takes_nothing_back(under_way: str) -> None:
    item = {"sk": "DELIVERY#slack", "status": under_way, "attempts": 7}
    failed = {**item, "failed_at": "2026-01-01T00:00:00.000Z"}
    assert delivery_of(failed).status is Status.FAILED
    assert delivery_of({**failed, "status": "delivered", "delivered_at": NOW}).status is Status.DELIVERED
    assert delivery_of({**item, "delivered_at": "2026-01-01T00:00:00.000Z"}).status is Status.DELIVERED
    assert delivery_of({**failed, "delivered_at": "2026-01-02T00:00:00.000Z"}).status is Status.DELIVERED
