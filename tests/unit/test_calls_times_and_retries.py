"""Tests the format of calls and times, and the timeouts and retries of AWS calls."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from pydantic import ValidationError

from api.body import Call
from assistance.models import AssistanceRequest
from assistance.platform import aws
from assistance.platform.clock import epoch_ms, timestamp, utc_now
from assistance.routing import RetryPolicy, Topic
from cli.requests import canonical
from infra.retries import longest


def test_a_topic_is_accepted_in_any_letter_case_and_a_description_is_trimmed() -> None:
    call = Call.model_validate({"topic": " SaLeS\n", "description": "\x1c help \n"})
    assert (call.topic, call.description) == (Topic.SALES, "help")


@pytest.mark.parametrize("call", [{"topic": 5, "description": "x"}, {"topic": "sales", "description": 5}])
def test_a_topic_or_description_that_is_not_a_text_is_refused(call: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Call.model_validate(call)


REQUEST = {
    "id": "0199f3c2-0000-7000-8000-00000000000a",
    "topic": "sales",
    "description": "help",
    "created_at": "2026-01-31T09:30:00.000Z",
}


@pytest.mark.parametrize(
    ("member", "wrong"),
    [
        ("id", "LEDGER"),
        ("id", REQUEST["id"].upper()),
        ("id", f"{REQUEST['id']}\n"),
        ("topic", "<!channel>"),
        ("topic", "sales\n"),
        ("created_at", "yesterday"),
        ("created_at", "2026-02-30T09:30:00.000Z"),
        ("created_at", "2026-01-31T09:30:00.000"),
        ("created_at", "٢٠٢٦-01-31T09:30:00.000Z"),
    ],
)
def test_a_stored_request_with_an_id_topic_or_time_in_an_invalid_format_is_rejected(member: str, wrong: str) -> None:
    assert AssistanceRequest.model_validate(REQUEST).id == REQUEST["id"]
    with pytest.raises(ValidationError):
        AssistanceRequest.model_validate(REQUEST | {member: wrong})


@pytest.mark.parametrize("typed", [REQUEST["id"], REQUEST["id"].upper()])
def test_a_request_id_is_accepted_in_upper_and_lower_case(typed: str) -> None:
    assert canonical(typed) == REQUEST["id"]


@pytest.mark.parametrize("form", ["{{{}}}", "urn:uuid:{}", "{} ", "{}\n"])
def test_a_request_id_in_an_invalid_format_is_rejected(form: str) -> None:
    with pytest.raises(ValueError, match="no request's id"):
        canonical(form.format(REQUEST["id"]))


def test_times_are_formatted_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 1, 1, 1, 30, 0, 4_999, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2025-12-31T23:30:00.004Z"
    assert epoch_ms(datetime(1970, 1, 1, 0, 0, 1, 2_000, tzinfo=UTC)) == 1_002
    assert utc_now().tzinfo is UTC


def test_the_aws_sdk_retries_idempotent_calls_and_never_sends_of_messages() -> None:
    def limits(client: Any) -> tuple[int, int, str, int]:  # noqa: ANN401
        config = client.meta.config
        return config.connect_timeout, config.read_timeout, config.retries["mode"], config.retries["total_max_attempts"]

    table = aws.table("requests")
    assert table.name == "requests"
    for client in (table.meta.client, aws.sns(), aws.sqs()):
        assert limits(client) == (1, 2, "standard", 3)
    assert limits(aws.ses()) == (2, 10, "standard", 1)
    services = [client.meta.service_model.service_name for client in (aws.sns(), aws.sqs(), aws.ses())]
    assert services == ["sns", "sqs", "sesv2"]


def test_the_error_code_of_an_aws_error_is_the_code_in_the_aws_response() -> None:
    throttled = ClientError(cast(Any, {"Error": {"Code": "ThrottlingException"}}), "PutItem")
    assert aws.error_code(throttled) == "ThrottlingException"
    assert aws.error_code(ReadTimeoutError(endpoint_url="sns")) == "ReadTimeoutError"


def test_the_retry_delays_are_computed_from_the_maximum_number_of_attempts() -> None:
    policy = RetryPolicy(attempts=4, first_delay=5, max_delay=40, doubt_delay=10)
    assert [policy.ceiling(attempt) for attempt in (1, 2, 3, 4)] == [5, 15, 40, 40]
    assert longest(policy) == 10 + 15 + 40
