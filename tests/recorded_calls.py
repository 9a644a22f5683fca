"""Records which AWS calls the functions make during the tests, each as the permissions that it needs.

`record()` wraps the method through which botocore makes every call, and `as_function` wraps a handler: calls made while
the handler runs count as that function's. A function gets the names of its resources from environment variables, so a
call is recorded with the name of the variable, not with the name that the resource has in the tests.
"""

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from unittest.mock import patch

from botocore.client import BaseClient

Handler: TypeAlias = Callable[[Any, Any], Any]
Variables: TypeAlias = frozenset[str]
"""The variables, or the places in a variable's JSON, that contain a value: `TABLE_NAME`, `QUEUES.slack.queue`."""


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission that IAM checks. `resource`: an ARN in which `{}` stands for `name`, the value of a variable."""

    action: str
    resource: str
    name: str = ""
    context: tuple[tuple[str, str], ...] = ()
    """The condition keys that come with the call, and their values."""


@dataclass(frozen=True, slots=True)
class Call:
    """A permission that a function has needed, with the environment variables that contain the names in it."""

    function: str
    action: str
    resource: str
    variables: Variables
    context: tuple[tuple[str, Variables], ...]


Arguments: TypeAlias = Mapping[str, Any]
Asks: TypeAlias = Callable[[Arguments], list[Permission]]

TABLE: Final = "arn:aws:dynamodb:us-east-1:000000000000:table/{}"
QUEUE: Final = "arn:aws:sqs:us-east-1:000000000000:{}"
IDENTITY: Final = "arn:aws:ses:us-east-1:000000000000:identity/{}"
CONFIGURATION_SET: Final = "arn:aws:ses:us-east-1:000000000000:configuration-set/{}"


def _item(action: str) -> Asks:
    return lambda call: [Permission(f"dynamodb:{action}", TABLE, call["TableName"])]


def _query(call: Arguments) -> list[Permission]:
    index = f"/index/{call['IndexName']}" if "IndexName" in call else ""
    return [Permission("dynamodb:Query", TABLE + index, call["TableName"])]


def _batch_get(call: Arguments) -> list[Permission]:
    return [Permission("dynamodb:BatchGetItem", TABLE, name) for name in call["RequestItems"]]


# Each operation of a transaction takes its own permission, and there is none for the transaction:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
_IN_A_TRANSACTION: Final = {
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Delete": "dynamodb:DeleteItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
}


def _transaction(call: Arguments) -> list[Permission]:
    return [
        Permission(_IN_A_TRANSACTION[kind], TABLE, operation["TableName"])
        for item in call["TransactItems"]
        for kind, operation in item.items()
    ]


def _message(action: str) -> Asks:
    return lambda call: [Permission(f"sqs:{action}", QUEUE, call["QueueUrl"])]


def _mail(call: Arguments) -> list[Permission]:
    # In the sandbox SES checks the recipients' identities too: https://github.com/aws/aws-sdk-js/issues/3641
    sender = call["FromEmailAddress"]
    context = (("ses:FromAddress", sender),)
    identities = [sender, *call["Destination"]["ToAddresses"]]
    return [
        *(Permission("ses:SendEmail", IDENTITY, address, context) for address in identities),
        Permission("ses:SendEmail", CONFIGURATION_SET, call["ConfigurationSetName"], context),
    ]


# The name of an SDK operation is not always the name of an IAM action:
# https://docs.aws.amazon.com/service-authorization/latest/reference/. A batch operation of SNS or SQS needs the
# permission of the single operation:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
PERMISSIONS: Final[Mapping[str, Asks]] = {
    "dynamodb.BatchGetItem": _batch_get,
    "dynamodb.DeleteItem": _item("DeleteItem"),
    "dynamodb.GetItem": _item("GetItem"),
    "dynamodb.PutItem": _item("PutItem"),
    "dynamodb.Query": _query,
    "dynamodb.TransactWriteItems": _transaction,
    "dynamodb.UpdateItem": _item("UpdateItem"),
    "secretsmanager.GetSecretValue": lambda call: [
        Permission("secretsmanager:GetSecretValue", "{}", call["SecretId"]),
    ],
    "sesv2.SendEmail": _mail,
    "sns.PublishBatch": lambda call: [Permission("sns:Publish", "{}", call["TopicArn"])],
    "sqs.ChangeMessageVisibility": _message("ChangeMessageVisibility"),
    "sqs.ChangeMessageVisibilityBatch": _message("ChangeMessageVisibility"),
    "sqs.GetQueueAttributes": _message("GetQueueAttributes"),
    "sqs.ReceiveMessage": _message("ReceiveMessage"),
    "sqs.SendMessage": _message("SendMessage"),
}
"""For each service and operation, a function that returns the permissions that a call needs."""


def asks(operation: str, arguments: Arguments) -> list[Permission]:
    """Return the permissions that a call needs: for an operation not in `PERMISSIONS` one that no policy allows."""
    known = PERMISSIONS.get(operation)
    return known(arguments) if known else [Permission(f"unknown:{operation}", "unknown")]


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The values in an environment: each variable, and each value inside a variable that is a JSON document."""
    found = dict(environment)
    for name, value in environment.items():
        if value[:1] in {"{", "["}:
            found |= dict(_places(name, json.loads(value)))
    return found


def _places(name: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(f"{name}.{key}", part)


class _Recorder:
    """Records calls as calls of the function that is running: one at a time, except within `meanwhile`.

    The calls of that function may come from several threads.
    """

    def __init__(self) -> None:
        self.running: str | None = None
        self.into: list[set[Call]] = []
        self._seen: set[tuple[str | None, Permission]] = set()

    def note(self, operation: str, arguments: Arguments) -> None:
        if self.running is None:
            return
        for permission in asks(operation, arguments):
            if (self.running, permission) in self._seen:
                continue
            call = self._traced(self.running, permission)
            for calls in self.into:
                calls.add(call)
            self._seen.add((self.running, permission))

    def forget(self) -> None:
        self._seen.clear()

    @staticmethod
    def _traced(function: str, permission: Permission) -> Call:
        held = variables(os.environ)

        def named(value: str) -> Variables:
            return frozenset(name for name, it in held.items() if it == value) if value else frozenset()

        context = tuple((key, named(value)) for key, value in permission.context)
        return Call(function, permission.action, permission.resource, named(permission.name), context)


_recorder = _Recorder()


def running() -> str | None:
    """The function that is being invoked, if one is."""
    return _recorder.running


def as_function(function: str, handler: Handler) -> Handler:
    """The handler, wrapped so that AWS calls which it makes are recorded as calls of `function`."""

    @functools.wraps(handler)
    def invoked(event: Any, context: Any) -> Any:  # noqa: ANN401
        before = _recorder.running
        assert before in {None, function}, f"{before} and {function} at once: whose calls are these?"
        _recorder.running = function
        try:
            return handler(event, context)
        finally:
            _recorder.running = before

    return invoked


def note(operation: str, arguments: Arguments) -> None:
    """Record a call that does not go through botocore. `operation`: with the service, such as `sqs.SendMessage`."""
    _recorder.note(operation, arguments)


@contextmanager
def meanwhile() -> Iterator[None]:
    """Within the context, let other functions run while the running function waits for the response to its call."""
    before, _recorder.running = _recorder.running, None
    try:
        yield
    finally:
        _recorder.running = before


@contextmanager
def record() -> Iterator[set[Call]]:
    """The calls that functions make within the context. Recordings may be nested."""
    calls: set[Call] = set()
    make_api_call = BaseClient._make_api_call  # type: ignore[attr-defined] # noqa: SLF001

    def recorded(client: Any, operation: str, arguments: dict[str, Any]) -> Any:  # noqa: ANN401
        _recorder.note(f"{client.meta.service_model.service_name}.{operation}", arguments)
        return make_api_call(client, operation, arguments)

    _recorder.forget()
    _recorder.into.append(calls)
    try:
        if len(_recorder.into) > 1:
            yield calls
        else:
            with patch.object(BaseClient, "_make_api_call", recorded):
                yield calls
    finally:
        # Not `remove`: an outer recording may hold the same calls.
        _recorder.into[:] = [each for each in _recorder.into if each is not calls]
