"""The secrets of a stack: their names for operators, checks of their values, and storing new ones.

A secret's name comes from the name of the stack's output with its ARN: `SlackTokenSecretArn` becomes `slack-token`.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final, TypeVar

from botocore.exceptions import ClientError

from assistance.engine import links
from assistance.errors import UnusableSecret
from assistance.platform.aws import error_code
from assistance.platform.secret import text
from cli.errors import Failure
from cli.stack import Stack
from slack_consumer.web_api import read_token
from slack_interactions import signature

SLACK_TOKEN: Final = "slack-token"  # noqa: S105 # a name
_SUFFIX: Final = "SecretArn"
_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")
_READERS: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType(
    {SLACK_TOKEN: read_token, "slack-signing": signature.read, "take": links.read}
)
MULTIPLE_KEYS: Final = frozenset({"callback", "slack-signing", "take"})
"""The secrets that may hold several keys, separated by spaces, so that the old key stays valid during a change."""
Value = TypeVar("Value")


def names(stack: Stack) -> dict[str, str]:
    """The ARNs of the stack's secrets, by the secrets' names for operators, such as `slack-token`."""
    found = {output.removesuffix(_SUFFIX): arn for output, arn in stack.outputs.items() if output.endswith(_SUFFIX)}
    return {_WORD_START.sub("-", name).lower(): arn for name, arn in sorted(found.items())}


def reader(stack: Stack, name: str) -> Callable[[str], object]:
    """The parser that Lambda functions apply to the secret's text. It raises `UnusableSecret` for an unusable text."""
    if name in _READERS:
        return _READERS[name]
    destination = name.partition("-")[0]
    module = f"{destination}_consumer.secret"
    # On the local stack, a channel's secret holds an address of this machine, which the parser refuses.
    local = stack.endpoint_url is not None and destination in stack.channels()
    # A consumer without a module `secret` accepts any text.
    read: Callable[[str], object] = str if local or not find_spec(module) else import_module(module).read
    return read


def fetch(stack: Stack, arn: str, read: Callable[[str], Value]) -> Value:
    """Fetch a secret, and return what `read` makes of its text. Raises `UnusableSecret` and what boto3 raises."""
    try:
        found = stack.client("secretsmanager").get_secret_value(SecretId=arn)
    except ClientError as error:
        # A secret that exists but has no value:
        # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
        if error_code(error) != "ResourceNotFoundException":
            raise
        raise UnusableSecret("the secret has no value") from error
    return read(text(found.get("SecretString")))


def check(stack: Stack, name: str, value: str, *, keep_old: bool) -> str:
    """Check a new value, and return the text to store: with `keep_old`, the value and then the current first key.

    If the value is the current first key already, because somebody repeats the command, the text keeps the second key.

    Raises `Failure` for an unknown secret, for a value that the functions can't use, or for `keep_old` with a
    secret that holds only one value.
    """
    arn = names(stack).get(name)
    if arn is None:
        raise Failure(f"the stack {stack.name} has no secret {name}: it has {', '.join(names(stack))}")
    if keep_old and name not in MULTIPLE_KEYS:
        raise Failure(f"the secret {name} holds one value: pass no --keep-old")
    new = value.strip()
    if not new:
        raise Failure("nothing was stored: the value is empty")
    try:
        if keep_old:
            others = [key for key in fetch(stack, arn, str.split) if key not in new.split()]
            new = " ".join([new, *others[:1]])
        reader(stack, name)(new)
    except UnusableSecret as error:
        raise Failure(f"nothing was stored: {error}") from None
    return new


def bot_environment(stack: Stack) -> dict[str, str]:
    """The environment variables that the examples for bots read: the API's URL and key, and a signing key.

    If the callback's secret holds several keys, the first one signs. Raises `Failure` if it holds none.
    """
    try:
        key = fetch(stack, stack.output("CallbackSecretArn"), _first)
    except UnusableSecret as error:
        raise Failure(f"the callbacks' signing key can't be read: {error}") from None
    return {"API_URL": stack.output("ApiUrl"), "API_KEY": stack.api_key(), "CALLBACK_SECRET": key}


def _first(text: str) -> str:
    """The first of the keys in a secret's text."""
    return text.split(maxsplit=1)[0]


def store(stack: Stack, name: str, value: str) -> None:
    """Store a value that `check` has returned. Raises what boto3 raises."""
    stack.client("secretsmanager").put_secret_value(SecretId=names(stack)[name], SecretString=value)
