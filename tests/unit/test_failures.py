"""What an error means decides whether a human hears of a request: it is worth a table."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError
from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure
from email_consumer import failures as email
from slack_consumer import failures as slack


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
def test_what_slack_will_never_take_is_permanent(code: str) -> None:
    failure = slack.classify(answer(200, code))
    assert isinstance(failure, PermanentFailure)
    assert failure.code == code


@pytest.mark.parametrize("code", ["fatal_error", "internal_error", "service_unavailable", "never_heard_of"])
def test_what_slack_may_take_later_is_transient(code: str) -> None:
    failure = slack.classify(answer(200, code))
    assert isinstance(failure, TransientFailure)
    assert failure.code == code


def test_a_rate_limit_says_when_to_come_back() -> None:
    failure = slack.classify(answer(429, "ratelimited", **{"Retry-After": "17"}))
    assert isinstance(failure, RateLimited)
    assert failure.retry_after == 17


def test_an_answer_that_is_not_slacks_own_leaves_doubt_and_is_not_quoted() -> None:
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
        (client_error("SendingPausedException", status=400), TransientFailure, False),
        (client_error("InternalServiceErrorException", status=500), TransientFailure, True),
        (ReadTimeoutError(endpoint_url="ses"), TransientFailure, True),
        (ConnectTimeoutError(endpoint_url="ses"), TransientFailure, False),
    ],
)
def test_what_an_error_of_ses_means(error: Exception, kind: type[DeliveryError], in_doubt: bool) -> None:  # noqa: FBT001
    failure = email.classify(error)
    assert type(failure) is kind
    assert getattr(failure, "in_doubt", False) is in_doubt
