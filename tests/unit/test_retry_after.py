"""Tests that any text in a Retry-After header yields a number of seconds, or counts as absent."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assistance.failures import MAX_RETRY_AFTER, retry_after
from tests.fuzz_settings import FUZZED

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "60",
        "Sun, 01 Mar 2026 12:01:00 GMT",
        "Sunday, 01-Mar-26 12:01:00 GMT",
        "Sun Mar  1 12:01:00 2026",
        "Sun, 01 Mar 2026 12:01:00 +0000",
        "Sun, 01 Mar 2026 14:01:00 +0200",
    ],
)
def test_every_http_date_format_of_the_standard_is_parsed(value: str) -> None:
    assert retry_after(value, NOW) == 60


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 1),
        ("9" * 10_000, MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Mon, 01 Jan 0001 00:00:00 GMT", 1),
        ("Fri, 31 Dec 9999 23:59:59 -2359", MAX_RETRY_AFTER),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 1),
    ],
)
def test_a_retry_after_value_outside_the_bounds_is_set_to_the_nearest_bound(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "+9999999999999",
        "1e3",
        "inf",
        "nan",
        "²",
        "١٢",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Sun, 01 Mar 2026 12:01:00 +9999",
        "Sun, 31 Feb 2026 12:01:00 GMT",
    ],
)
def test_an_unreadable_retry_after_value_counts_as_absent(value: str) -> None:
    assert retry_after(value, NOW) is None


@FUZZED
@given(
    st.text()
    | st.from_regex(r"[+-]?[0-9]{1,30}")
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,25} [0-9:]{1,9} (GMT|[+-][0-9]{1,9})")
)
@example("Mon, 01 Jan 99999999999999999999 00:00:00 GMT")
def test_any_retry_after_text_is_parsed_as_a_bounded_number_of_seconds_or_counts_as_absent(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 1 <= seconds <= MAX_RETRY_AFTER


@FUZZED
@given(st.integers(0, 4_000_000_000))
def test_any_date_in_the_standard_http_format_is_parsed(epoch: int) -> None:
    moment = datetime.fromtimestamp(epoch, UTC)
    seconds = (moment - NOW).total_seconds()
    assert retry_after(format_datetime(moment, usegmt=True), NOW) == min(max(seconds, 1), MAX_RETRY_AFTER)
