"""Tests the routing table."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistance.routing import DESTINATIONS, ROUTES, Channel, RetryPolicy, Route, Topic, read

FUNCTIONS = Path(__file__).parents[2] / "functions"


def test_every_topic_has_a_route_whose_fallback_is_another_channel() -> None:
    assert set(ROUTES) == set(Topic)
    for route in ROUTES.values():
        assert route.channels
        assert route.fallback not in route.channels


def test_every_channel_has_exactly_one_consumer_and_one_construct() -> None:
    for places in (FUNCTIONS.glob("*_consumer"), (FUNCTIONS.parent / "infra").glob("*_consumer.py")):
        assert {path.stem.removesuffix("_consumer") for path in places} == set(DESTINATIONS)


def test_routes_are_parsed_from_json() -> None:
    where = {"slack": "C1", "email": ["alice@example.com", "bob@example.com"]}
    given = {"channels": ["slack"], "fallback": "email", "where": where, "escalate_after": 5}
    assert read(json.dumps({"sales": given, "support": {"channels": ["teams", "slack"], "fallback": None}})) == {
        "sales": Route(
            (Channel.SLACK,),
            Channel.EMAIL,
            {Channel.SLACK: "C1", Channel.EMAIL: ("alice@example.com", "bob@example.com")},
            5,
        ),
        "support": Route((Channel.TEAMS, Channel.SLACK)),
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"sales": {"channels": ["alice@example.com"], "fallback": null}}',
        '{"sales": {"channels": "alice@example.com", "fallback": null}}',
        '{"sales": {"channels": ["email"], "fallback": null, "where": {"email": [["alice@example.com"]]}}}',
        '{"sales": {"channels": ["email"], "fallback": null, "where": {"fax": "alice@example.com"}}}',
        '["alice@example.com"]',
        '{"sales": "alice@example.com',
        "",
    ],
)
def test_an_error_about_unreadable_routes_does_not_quote_the_mail_addresses_in_them(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # whatever it says
        read(text)
    assert "alice" not in str(caught.value)


@given(
    policy=st.builds(
        RetryPolicy, attempts=st.integers(1, 50), first_delay=st.integers(0, 60), max_delay=st.integers(0, 43_200)
    ),
    attempt=st.integers(1, 10_000),
)
def test_retry_delays_triple_up_to_a_maximum(policy: RetryPolicy, attempt: int) -> None:
    now, then = policy.ceiling(attempt), policy.ceiling(attempt + 1)
    assert now <= then <= policy.max_delay
    assert then in {3 * now, policy.max_delay} or now == policy.first_delay * 3**10


def test_the_default_retry_policy_gives_up_after_about_ten_minutes() -> None:
    policy = RetryPolicy()
    assert 500 < sum(policy.ceiling(attempt) for attempt in range(1, policy.attempts)) < 700
