"""Tests the parsing of any AWS event, attribute or header: it is parsed, or its damage has a defined result."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from hypothesis import example, given
from hypothesis import strategies as st

from assistance.engine.dead_letters import UNKNOWN, depth, reading, request_id_in
from assistance.platform import tracing
from assistance.platform.clock import timestamp
from assistance.platform.response_parsers import UnreadableAnswer
from assistance.platform.sqs_attributes import receive_count
from email_feedback.events import Delivery, MalformedEvent, parse
from tests.fixtures import documented
from tests.fuzz_settings import DEEP, FUZZED, JSON, LONG_NUMBER
from tests.logs import shown

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENTS = st.sampled_from(["bounce", "complaint", "reject", "delivery", "send"])


def event(name: str) -> dict[str, Any]:
    """The example of the SES event `name` in SES's documentation, but about a mail of this system."""
    found = documented(f"ses/{name}")
    found["mail"]["tags"]["request_id"] = ["id"]
    return found


@FUZZED
@given(text=st.text() | JSON.map(json.dumps))
@example(DEEP)
@example(LONG_NUMBER)
@example("\ud800")
@example('{"eventType": "\\ud800"}')
def test_any_text_is_either_parsed_as_an_ses_event_or_reported_as_malformed(text: str) -> None:
    with suppress(MalformedEvent):
        parse(text)


@FUZZED
@given(name=EVENTS, member=st.sampled_from(["eventType", "mail", "bounce", "delivery"]), value=JSON)
def test_an_ses_event_with_any_changed_field_is_either_parsed_or_reported_as_malformed(
    name: str, member: str, value: object
) -> None:
    with suppress(MalformedEvent):
        parse(json.dumps(event(name) | {member: value}))


@FUZZED
@given(value=JSON | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([+-][0-9]{2}:[0-9]{2}|Z)"))
@example("0001-01-01T00:00:00+14:00")
@example("9999-12-31T23:59:59-14:00")
@example(1e300)
def test_an_ses_event_with_any_time_is_either_storable_or_reported_as_malformed(value: object) -> None:
    delivery = event("delivery")
    delivery["delivery"]["timestamp"] = value
    with suppress(MalformedEvent):
        parsed = parse(json.dumps(delivery))
        assert isinstance(parsed, Delivery)
        assert timestamp(parsed.at).endswith("Z")


@pytest.mark.parametrize("name", ["bounce", "delivery"])
def test_the_error_about_a_malformed_ses_event_does_not_quote_the_event(name: str) -> None:
    damaged = event(name) | {name: {"canary@example.com": "canary@example.com"}}
    with pytest.raises(MalformedEvent) as caught:
        parse(json.dumps(damaged))
    assert "canary" not in shown(caught.value)


@FUZZED
@given(header=st.text() | JSON)
@example(f"Root=1-{'0' * 8}-{'0' * 24};Parent={'0' * 16};Sampled=1\n")
def test_any_x_ray_trace_header_is_either_valid_or_ignored(header: object) -> None:
    found = tracing.valid(header)
    assert found is None or found == header


@FUZZED
@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
@example("Root;=;Parent==;Sampled=1=1")
def test_any_x_ray_trace_id_in_the_environment_variables_is_either_valid_or_ignored(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_X_AMZN_TRACE_ID", value)
        found = tracing.current()
    assert found is None or tracing.valid(found) == found


@FUZZED
@given(body=st.text() | JSON.map(json.dumps) | JSON.map(lambda it: json.dumps({"Message": json.dumps(it)})))
@example(DEEP)
@example(LONG_NUMBER)
@example('{"Message": "' + LONG_NUMBER + '"}')
@example('{"request": {"id": 5}}')
def test_reading_the_request_id_of_any_dead_letter_returns_an_id_or_none(body: str) -> None:
    assert isinstance(request_id_in(body), str | None)


@FUZZED
@given(attributes=st.dictionaries(st.just("ApproximateReceiveCount"), st.from_regex(r"[+-]?[0-9]{1,30}") | JSON))
@example({"ApproximateReceiveCount": "9" * 5_000})
@example({"ApproximateReceiveCount": "-5"})
def test_reading_the_receive_count_from_any_sqs_attributes_returns_a_number(attributes: dict[str, Any]) -> None:
    assert receive_count(SQSRecord({"attributes": attributes})) >= 1


@pytest.mark.parametrize("attributes", [{}, {"ApproximateReceiveCount": "x"}])
def test_a_message_with_an_unreadable_receive_count_counts_as_received_for_the_first_time(
    attributes: dict[str, Any],
) -> None:
    assert receive_count(SQSRecord({"attributes": attributes})) == 1


@dataclass
class Sqs:
    """A fake SQS client for a queue with these attributes. Hands out the message once."""

    attributes: dict[str, Any] = field(default_factory=dict)
    message: dict[str, Any] = field(default_factory=dict)
    receives: int = 0

    def get_queue_attributes(self, **_: object) -> dict[str, Any]:
        return {"Attributes": self.attributes}

    def receive_message(self, **_: object) -> dict[str, Any]:
        self.receives += 1
        return {"Messages": [self.message]} if self.receives == 1 else {}

    def change_message_visibility_batch(self, **_: object) -> None:
        pass


@pytest.mark.parametrize("count", [None, "", "x", "-1", "1.5"])
def test_a_queue_with_an_unreadable_depth_does_not_count_as_empty(count: str | None) -> None:
    good = {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"}
    sqs: Any = Sqs({**good, "ApproximateNumberOfMessages": count})
    with pytest.raises(UnreadableAnswer):
        depth(sqs, "queue")


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"MessageAttributes": {"error_code": {"DataType": "Binary", "BinaryValue": b"x"}}},
        {"MessageAttributes": {"error_code": {"DataType": "String", "StringValue": ""}}, "Attributes": {}},
        {"Attributes": {"SentTimestamp": "yesterday"}},
    ],
)
def test_a_dead_letter_in_an_unknown_format_is_shown_without_its_unreadable_parts(odd: dict[str, Any]) -> None:
    sqs: Any = Sqs(message={"MessageId": "1", "ReceiptHandle": "handle", "Body": "[]", **odd})
    with reading(sqs, "queue") as letters:
        [letter] = letters
    assert (letter.reason, letter.sent_at, letter.request_id) == (UNKNOWN, 0, None)
