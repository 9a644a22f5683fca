"""A status follows from what has happened, and only moves forward."""

from hypothesis import given
from hypothesis import strategies as st

from assistance.models import Delivery, Status, overall
from assistance.requests import delivery_of
from assistance.routing import ROUTES, Channel, Topic

ORDER = list(Status)


def delivery(channel: Channel, status: Status) -> Delivery:
    return Delivery(channel=channel, status=status, attempts=1)


def test_a_request_reads_as_far_as_it_has_come() -> None:
    assert overall(Topic.SALES, None, []) is Status.ACCEPTED
    assert overall(Topic.SALES, "2026-01-01T00:00:00.000Z", []) is Status.PUBLISHED
    for status in (Status.SENDING, Status.RETRYING, Status.DELIVERED, Status.FAILED):
        assert overall(Topic.SALES, None, [delivery(Channel.SLACK, status)]) is status


def test_a_late_mark_of_the_publication_moves_nothing_back() -> None:
    for topic, route in ROUTES.items():
        deliveries = [delivery(channel, Status.DELIVERED) for channel in route.channels]
        assert overall(topic, None, deliveries) is overall(topic, "2026-01-01T00:00:00.000Z", deliveries)


@given(topic=st.sampled_from(Topic), failed=st.sampled_from([Status.FAILED, Status.RETRYING, Status.SENDING]))
def test_what_the_fallback_delivered_is_delivered(topic: Topic, failed: Status) -> None:
    route = ROUTES[topic]
    assert route.fallback is not None
    deliveries = [delivery(channel, failed) for channel in route.channels]
    assert overall(topic, None, [*deliveries, delivery(route.fallback, Status.DELIVERED)]) is Status.DELIVERED


def test_a_redriven_attempt_under_way_reads_failed_until_it_is_delivered() -> None:
    item = {"sk": "DELIVERY#slack", "status": "sending", "attempts": 7, "failed_at": "2026-01-01T00:00:00.000Z"}
    assert delivery_of(item).status is Status.FAILED
    assert delivery_of({**item, "status": "delivered"}).status is Status.DELIVERED
