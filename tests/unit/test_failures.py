"""Tests which errors of providers are permanent, which are transient, and after which the outcome is unknown."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure
from assistance.failures import MAX_RETRY_AFTER, Kind
from email_consumer import failures as email
from slack_consumer import failures as slack
from tests.failures_page import PAGE, render


def answer(status: int, error: str, **headers: str) -> SlackApiError:
    response = SlackResponse(
        client=None,
        http_verb="POST",
        api_url="",
        req_args={},
        data={"ok": False, "error": error},
        headers=headers,
        status_code=status,
    )
    return SlackApiError("refused", response)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("code", ["channel_not_found", "invalid_auth", "is_archived", "msg_too_long", "missing_scope"])
def test_slack_errors_that_a_retry_cannot_fix_are_permanent_failures(code: str) -> None:
    failure = slack.classify(answer(200, code))
    assert isinstance(failure, PermanentFailure)
    assert failure.code == code


@pytest.mark.parametrize("code", ["fatal_error", "internal_error", "service_unavailable", "never_heard_of"])
def test_temporary_slack_errors_are_transient_failures(code: str) -> None:
    failure = slack.classify(answer(200, code))
    assert isinstance(failure, TransientFailure)
    assert failure.code == code


@pytest.mark.parametrize(
    ("code", "in_doubt"),
    [("fatal_error", True), ("internal_error", True), ("never_heard_of", True), ("service_unavailable", False)],
)
def test_the_outcome_is_unknown_after_slack_errors_that_do_not_exclude_that_the_message_was_posted(
    code: str, *, in_doubt: bool
) -> None:
    failure = slack.classify(answer(200, code))
    assert isinstance(failure, TransientFailure)
    assert failure.in_doubt is in_doubt


def test_the_content_of_a_message_may_cause_only_an_error_inside_slack_or_an_unforeseen_one() -> None:
    may = {"fatal_error", "internal_error", "never_heard_of", "unexpected_error"}
    may_not = {"http_200", "http_503", "timeout", "connection_error", "unexpected_answer", "service_unavailable", None}
    assert {code for code in may | may_not if slack.may_blame_content(code)} == may


@pytest.mark.parametrize(
    ("header", "seconds"), [("17", 17), ("0", 1), ("86400", MAX_RETRY_AFTER), ("inf", 30), ("nan", 30), ("soon", 30)]
)
def test_the_failure_for_a_rate_limit_response_states_when_to_retry(header: str, seconds: float) -> None:
    failure = slack.classify(answer(429, "ratelimited", **{"Retry-After": header}))
    assert isinstance(failure, RateLimited)
    assert failure.retry_after == seconds


def test_the_outcome_is_unknown_after_a_response_that_slack_did_not_send_and_the_response_is_not_quoted() -> None:
    failure = slack.classify(answer(502, "Received a response in a non-JSON format: <html>…"))
    assert isinstance(failure, TransientFailure)
    assert (failure.code, failure.in_doubt) == ("http_502", True)


def client_error(code: str, status: int = 400) -> ClientError:
    metadata: Any = {"HTTPStatusCode": status}
    return ClientError(
        {"Error": {"Code": code, "Message": "never matched on"}, "ResponseMetadata": metadata}, "SendEmail"
    )


@pytest.mark.parametrize(
    ("error", "kind", "in_doubt"),
    [
        (client_error("MessageRejected"), PermanentFailure, False),
        (client_error("MailFromDomainNotVerifiedException"), PermanentFailure, False),
        (client_error("TooManyRequestsException"), RateLimited, False),
        (client_error("429", status=429), RateLimited, False),
        (client_error("SendingPausedException", status=400), TransientFailure, False),
        (client_error("InternalServiceErrorException", status=500), TransientFailure, True),
        (ReadTimeoutError(endpoint_url="ses"), TransientFailure, True),
        (ConnectTimeoutError(endpoint_url="ses"), TransientFailure, False),
    ],
)
def test_ses_errors_are_classified_as_permanent_or_transient_or_with_unknown_outcome(
    error: Exception, kind: type[DeliveryError], *, in_doubt: bool
) -> None:
    failure = email.classify(error)
    assert type(failure) is kind
    assert getattr(failure, "in_doubt", False) is in_doubt


def test_every_error_of_send_email_in_the_aws_sdks_service_model_is_classified() -> None:
    model = boto3.client("sesv2").meta.service_model.operation_model("SendEmail")
    assert {shape.name for shape in model.error_shapes} <= set(email.SEND_EMAIL)


def test_the_function_classify_follows_the_tables_on_the_failures_page() -> None:
    kinds: dict[Kind, type[DeliveryError]] = {
        Kind.PERMANENT: PermanentFailure,
        Kind.RATE_LIMITED: RateLimited,
        Kind.TRANSIENT: TransientFailure,
        Kind.IN_DOUBT: TransientFailure,
    }
    failures = [(slack.classify(answer(200, code)), kind) for code, kind in slack.DOCUMENTED.items()]
    failures += [(email.classify(client_error(code)), kind) for code, kind in email.DOCUMENTED.items()]
    for failure, kind in failures:
        assert type(failure) is kinds[kind]
        assert getattr(failure, "in_doubt", False) is (kind is Kind.IN_DOUBT)


def test_the_failures_page_is_generated_from_the_classification_tables() -> None:
    assert PAGE.read_text("utf-8") == render(), "run: make docs"
