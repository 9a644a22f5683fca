"""Turns an error of SES into a `DeliveryError`. An error that is not listed here counts as transient.

A 429 without a listed code counts as a rate limit: a proxy may have answered.
"""

from http import HTTPStatus
from typing import Final

from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from assistance.errors import DeliveryError
from assistance.failures import Kind, Table, by_code, failure
from assistance.platform.aws import error_code, status

_PAGES: Final = "https://docs.aws.amazon.com/ses/latest/APIReference-V2"
SEND_EMAIL: Final = by_code(
    permanent="""
        AccountSuspendedException BadRequestException MailFromDomainNotVerifiedException MessageRejected
        NotFoundException
    """,
    transient="LimitExceededException SendingPausedException",
    in_doubt="InternalServiceErrorException",
    rate_limited="TooManyRequestsException",
)
COMMON: Final = by_code(
    permanent="""
        InvalidAction MalformedHttpRequestException OptInRequired RequestEntityTooLargeException
        UnknownOperationException ValidationError
    """,
    transient="""
        AccessDeniedException ExpiredTokenException IncompleteSignature InvalidClientTokenId NotAuthorized
        RequestAbortedException RequestExpired RequestTimeoutException UnrecognizedClientException
    """,
    in_doubt="InternalFailure ServiceUnavailable",
    rate_limited="ThrottlingException",
)
TABLES: Final = (
    Table("SES v2, `SendEmail`", f"{_PAGES}/API_SendEmail.html#API_SendEmail_Errors", SEND_EMAIL),
    Table("SES v2, errors common to all calls", f"{_PAGES}/CommonErrors.html", COMMON),
)
DOCUMENTED: Final = COMMON | SEND_EMAIL


def classify(error: Exception) -> DeliveryError:
    """The `DeliveryError` for an error of a call to SES."""
    code = error_code(error)
    is_limited = isinstance(error, ClientError) and status(error) == HTTPStatus.TOO_MANY_REQUESTS
    kind = DOCUMENTED.get(code, Kind.RATE_LIMITED if is_limited else Kind.TRANSIENT)
    return failure(kind, code, in_doubt=_leaves_doubt(error))


def _leaves_doubt(error: Exception) -> bool:
    """Whether SES may have sent the mail in spite of the error: not if it refused the mail or never got the call."""
    if isinstance(error, ClientError):
        return status(error) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return not isinstance(error, ConnectTimeoutError | EndpointConnectionError)
