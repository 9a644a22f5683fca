"""AWS clients whose time-outs and retries fit into a function's own time-out."""

import os
import re
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session, get_session

from assistance.platform import dynamodb, tls, tracing
from assistance.platform.response_parsers import Parsers, UnreadableAnswer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table as Table
    from mypy_boto3_secretsmanager import SecretsManagerClient as SecretsManagerClient
    from mypy_boto3_sesv2 import SESV2Client as SESV2Client
    from mypy_boto3_sns import SNSClient as SNSClient
    from mypy_boto3_sqs import SQSClient as SQSClient
else:
    # The types of the clients, which exist only for type checkers.
    SecretsManagerClient = SESV2Client = SNSClient = SQSClient = Table = Any

AWS_ERRORS: Final = (ClientError, BotoCoreError)
"""All errors that a call to AWS raises: `ClientError` if AWS answered with an error, else `BotoCoreError`."""

# An AWS error code begins with a letter. If an answer has no code, botocore puts the HTTP status there instead.
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9._:-]{0,127}")
# https://docs.aws.amazon.com/botocore/latest/reference/config.html
QUICK = Config(
    connect_timeout=1,
    read_timeout=2,
    # https://docs.aws.amazon.com/boto3/latest/guide/retries.html
    retries={"mode": "standard", "total_max_attempts": 3},
    # No batch has more records, so no thread waits for a connection.
    max_pool_connections=50,
    # Otherwise botocore composes one for each call, which takes a seventh of the CPU time that it needs for a call.
    user_agent=f"Botocore/{botocore.__version__} assistance",
    # Validation takes a tenth of a call's CPU time, so it is on in tests, and off on Lambda:
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    parameter_validation="AWS_LAMBDA_FUNCTION_NAME" not in os.environ,
)
# If a send times out, the provider may have sent the mail. So the SDK must not repeat it by itself.
_ONCE = QUICK.merge(Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 1}))
Client = TypeVar("Client")
_making = threading.RLock()


@cache
def _session() -> Session:
    session = get_session()
    session.register_component("response_parser_factory", Parsers())
    return session


def _client(service: str, config: Config | None = None) -> Any:  # noqa: ANN401
    session = _session()
    client = session.create_client(service, config=config or QUICK)
    if not (session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")):
        # If the environment names a file of CA certificates, keep botocore's own connections, which read that file.
        tls.share(client)
    _keep_endpoints(client)
    return client


def _keep_endpoints(client: Any) -> None:  # noqa: ANN401
    """Let a client determine each operation's endpoint once. botocore does so anew for each call.

    That takes a twentieth of a call's CPU time. It is needed only for calls whose parameters decide the endpoint, such
    as another account's table, and we make no such calls.
    https://docs.aws.amazon.com/sdkref/latest/guide/feature-account-endpoints.html
    """
    resolver = client._ruleset_resolver  # noqa: SLF001
    determine, kept = resolver.construct_endpoint, dict[str, Any]()

    def endpoint(operation_model: Any, **call: Any) -> Any:  # noqa: ANN401
        name = operation_model.name
        if name not in kept:
            kept[name] = determine(operation_model=operation_model, **call)
        return kept[name]

    resolver.construct_endpoint = endpoint


class _WhenUsed:
    """Stands for a client, and creates the client when it is first used."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = cache(make)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        # A session may make only one client at a time:
        # https://docs.aws.amazon.com/boto3/latest/guide/session.html#multithreading-or-multiprocessing-with-sessions
        with _making:
            client = self._make()
        return getattr(client, name)


def when_used(make: Callable[[], Client]) -> Client:
    """A client that is made only at its first use, for services that most invocations do not call."""
    return cast(Client, _WhenUsed(make))


def table(name: str) -> Table:
    """The application's table, whose operations take and return plain Python values."""
    dynamodb.leave_values(_session().get_component("data_loader"))
    return dynamodb.table(_client("dynamodb"), name)


def sns() -> SNSClient:
    """The client of SNS. It may retry, since publishing a message twice does no harm."""
    return tracing.propagate(_client("sns"))


def sqs() -> SQSClient:
    """The client of SQS."""
    return cast(SQSClient, _client("sqs"))


def secrets() -> SecretsManagerClient:
    """The client of Secrets Manager."""
    return cast(SecretsManagerClient, _client("secretsmanager"))


def ses() -> SESV2Client:
    """The client of SES. It never retries a call."""
    return cast(SESV2Client, _client("sesv2", _ONCE))


def error_code(error: Exception) -> str:
    """AWS's code; without one, `http_` and the status; `unexpected_answer` for an unreadable answer; else the type."""
    match error:
        case ClientError(response={"Error": {"Code": str(code)}}) if _CODE.fullmatch(code):
            return code
        case ClientError():
            return f"http_{status(error)}"
        case UnreadableAnswer():
            return "unexpected_answer"
    return type(error).__name__


def status(error: ClientError) -> int:
    """The HTTP status of AWS's error; 0 if it has none."""
    match error.response:
        case {"ResponseMetadata": {"HTTPStatusCode": int(found)}}:
            return found
    return 0
