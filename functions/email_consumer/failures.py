"""What an error of SES means for a delivery.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
An error that is not listed here is taken for transient.
"""

from typing import Final

from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

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
    # Where nothing was sent, nothing can have arrived; everything else may have.
    return TransientFailure(code, in_doubt=not isinstance(error, ConnectTimeoutError | EndpointConnectionError))
