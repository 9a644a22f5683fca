"""What an error of SES means for a delivery.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
An error that is not listed here is taken for transient.
"""

from http import HTTPStatus
from typing import Final

from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from assistance.aws import error_code
from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure

PERMANENT: Final = frozenset(
    {
        "AccountSuspendedException",
        "BadRequestException",
        "MailFromDomainNotVerifiedException",
        "MessageRejected",
        "NotFoundException",
    }
)
RATE_LIMITED: Final = frozenset({"TooManyRequestsException", "ThrottlingException"})


def classify(error: Exception) -> DeliveryError:
    """The failure that an error of the call to SES stands for."""
    code = error_code(error)
    if code in RATE_LIMITED:
        return RateLimited(code)
    if code in PERMANENT:
        return PermanentFailure(code)
    return TransientFailure(code, in_doubt=_leaves_doubt(error))


def _leaves_doubt(error: Exception) -> bool:
    """Whether the mail may be on its way all the same: not if SES refused it, nor if the call never reached SES."""
    if isinstance(error, ClientError):
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return not isinstance(error, ConnectTimeoutError | EndpointConnectionError)
