"""Error messages of the command line: each is one line that says what went wrong and what to do."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError

from assistance.platform.aws import error_code
from assistance.platform.response_parsers import UnreadableAnswer


class Failure(Exception):
    """The command failed. The exception's text says why, and what the operator can do."""


_LOCAL: Final = " (for the stack that 'make run' started: assistance --local …)"
_NO_CREDENTIALS: Final = "no AWS credentials: set AWS_PROFILE, pass --profile, or log in with 'aws sso login'"
_REFUSED: Final = "AWS does not accept these credentials ({code}): log in again, or choose another --profile"
_DENIED: Final = "these credentials lack the permission for {operation} ({code}): choose another --profile"
_ANSWERED: Final = "AWS answered {operation} with {code}: try again"
_UNREACHABLE: Final = "no answer from AWS ({code}): check the network, --region, and AWS_ENDPOINT_URL if it is set"
_UNREADABLE: Final = (
    "the answer can't be read, so perhaps it is not from AWS ({code}): check the network, the proxy, and "
    "AWS_ENDPOINT_URL if it is set"
)

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html, and the same page of other
# services.
_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("AccessDenied", "AccessDeniedException", "AuthorizationError"), _DENIED),
        **dict.fromkeys(
            (
                "ExpiredToken",
                "ExpiredTokenException",
                "InvalidAccessKeyId",
                "InvalidClientTokenId",
                "SignatureDoesNotMatch",
                "UnrecognizedClientException",
            ),
            _REFUSED,
        ),
    }
)
_KINDS: Final[tuple[tuple[type[BotoCoreError], str], ...]] = (
    (aws.ProfileNotFound, "there is no such AWS profile: 'aws configure list-profiles' lists the profiles"),
    (aws.NoCredentialsError, _NO_CREDENTIALS),
    (aws.PartialCredentialsError, _NO_CREDENTIALS),
    (aws.NoRegionError, "no AWS region: set AWS_REGION, or pass --region"),
    (aws.SSOError, _REFUSED),
    (aws.CredentialRetrievalError, _REFUSED),
    (aws.TokenRetrievalError, _REFUSED),
    (aws.ConnectionError, _UNREACHABLE),
    (UnreadableAnswer, _UNREADABLE),
    (aws.HTTPClientError, _UNREACHABLE),
)
_INCOMPLETE: Final = (aws.NoCredentialsError, aws.PartialCredentialsError, aws.NoRegionError)


def explained(error: BotoCoreError | ClientError, *, hint: str = _LOCAL) -> str:
    """Describe in one line what went wrong with a call to AWS, and what to do.

    `hint` is appended if a credential or the region is missing.
    """
    code = error_code(error)
    if isinstance(error, ClientError):
        return _CODES.get(code, _ANSWERED).format(code=code, operation=error.operation_name)
    text = next((text for kind, text in _KINDS if isinstance(error, kind)), "the call to AWS failed: {code}")
    return text.format(code=code) + (hint if isinstance(error, _INCOMPLETE) else "")
