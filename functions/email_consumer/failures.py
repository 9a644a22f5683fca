"""Turns an error of SES into a `DeliveryError`. An error that is not listed here counts as transient."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from assistance.errors import DeliveryError
from assistance.failures import Kind, Table, failure
from assistance.platform.aws import error_code, status

SEND_EMAIL_SOURCE: Final = (
    "https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors"
)
SEND_EMAIL: Final[Mapping[str, Kind]] = {
    "AccountSuspendedException": Kind.PERMANENT,
    "BadRequestException": Kind.PERMANENT,
    "InternalServiceErrorException": Kind.IN_DOUBT,
    "LimitExceededException": Kind.TRANSIENT,
    "MailFromDomainNotVerifiedException": Kind.PERMANENT,
    "MessageRejected": Kind.PERMANENT,
    "NotFoundException": Kind.PERMANENT,
    "SendingPausedException": Kind.TRANSIENT,
    "TooManyRequestsException": Kind.RATE_LIMITED,
}

COMMON_SOURCE: Final = "https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html"
COMMON: Final[Mapping[str, Kind]] = {
    "AccessDeniedException": Kind.TRANSIENT,
    "ExpiredTokenException": Kind.TRANSIENT,
    "IncompleteSignature": Kind.TRANSIENT,
    "InternalFailure": Kind.IN_DOUBT,
    "InvalidAction": Kind.PERMANENT,
    "InvalidClientTokenId": Kind.TRANSIENT,
    "MalformedHttpRequestException": Kind.PERMANENT,
    "NotAuthorized": Kind.TRANSIENT,
    "OptInRequired": Kind.PERMANENT,
    "RequestAbortedException": Kind.TRANSIENT,
    "RequestEntityTooLargeException": Kind.PERMANENT,
    "RequestExpired": Kind.TRANSIENT,
    "RequestTimeoutException": Kind.TRANSIENT,
    "ServiceUnavailable": Kind.IN_DOUBT,
    "ThrottlingException": Kind.RATE_LIMITED,
    "UnknownOperationException": Kind.PERMANENT,
    "UnrecognizedClientException": Kind.TRANSIENT,
    "ValidationError": Kind.PERMANENT,
}

NOTES: Final[Mapping[str, str]] = {
    "AccessDeniedException": "a policy may still be taking effect",
    "AccountSuspendedException": "SES says: permanently restricted",
    "ExpiredTokenException": "the SDK renews the function's credentials",
    "InternalFailure": "the answer is a 500: SES may have sent the mail",
    "InternalServiceErrorException": "the answer is a 500: SES may have sent the mail",
    "LimitExceededException": "a quota",
    "MessageRejected": "also if the sender is not verified, or in the sandbox a recipient",
    "NotFoundException": "the configuration set does not exist any more",
    "RequestExpired": "a clock is wrong, or the call was on its way for too long",
    "RequestTimeoutException": "SES did not get the whole call",
    "SendingPausedException": "sending was paused, and may be resumed",
    "ServiceUnavailable": "the answer is a 503: SES may have sent the mail",
    "ThrottlingException": "also if the daily quota is used up: see above",
    "TooManyRequestsException": "also if the daily quota is used up: see above",
}

TABLES: Final = (
    Table("SES v2, `SendEmail`", SEND_EMAIL_SOURCE, SEND_EMAIL, NOTES),
    Table("SES v2, errors common to all calls", COMMON_SOURCE, COMMON, NOTES),
)
DOCUMENTED: Final = {**COMMON, **SEND_EMAIL}


def classify(error: Exception) -> DeliveryError:
    """The `DeliveryError` for an error of a call to SES."""
    code = error_code(error)
    return failure(DOCUMENTED.get(code, Kind.TRANSIENT), code, in_doubt=_leaves_doubt(error))


def _leaves_doubt(error: Exception) -> bool:
    """Whether SES may have sent the mail in spite of the error: not if it refused the mail or never got the call."""
    if isinstance(error, ClientError):
        return status(error) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return not isinstance(error, ConnectTimeoutError | EndpointConnectionError)
