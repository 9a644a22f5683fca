"""The types of settings. Each checks a value, and parses it from the string that the CDK's option `-c` passes."""

import difflib
import json
import re
from functools import cache
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from botocore.session import Session
from pydantic import AfterValidator, BeforeValidator, StringConstraints

from assistance.routing import TOPIC_PATTERN
from infra.addresses import address
from infra.routes import split

# API Gateway needs custom domain names in lower case:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-custom-domains.html
DOMAIN: Final = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
CERTIFICATE: Final = r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+$"
_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")


def valid_public_url(value: str | None) -> str | None:
    """Return the URL without a slash at its end; None stays None. Raises `ValueError` if it is no http or https URL."""
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        valid = _URL.fullmatch(value) and parts.hostname and parts.port != 0
    except ValueError:  # the port or the IPv6 address is malformed
        valid = False
    if not valid:
        raise ValueError("this is not a URL like https://api.your.org/assistance")
    return value.rstrip("/")


def valid_https_url(value: str | None) -> str | None:
    """Return the value unchanged. Raises `ValueError` if it is neither None nor a URL that begins with https://."""
    if value is not None and not re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]+)?(/[^\s#]*)?", value):
        raise ValueError("this is not a URL that begins with https://")
    return value


def blank_is_none(value: object) -> object:
    """Return None for an empty string, else the value unchanged."""
    return None if value == "" else value


def known_region(value: str | None) -> str | None:
    """Return the value unchanged. Raises `ValueError` if it is neither None nor an AWS region that botocore knows."""
    if value is None or value in _regions():
        return value
    close = difflib.get_close_matches(value, _regions(), n=1)
    raise ValueError(f"there is no AWS region '{value}'" + (f": did you mean '{close[0]}'?" if close else ""))


@cache
def _regions() -> list[str]:
    session = Session()
    partitions = session.get_available_partitions()
    return [region for partition in partitions for region in session.get_available_regions("ec2", partition)]


def integer(value: object) -> object:
    """Return the integer for a string of digits, else the value unchanged."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def account_number(value: object) -> object:
    """Return an account number as a string with leading zeros, which a JSON number lacks; None for an empty string."""
    return f"{value:012d}" if isinstance(value, int) else blank_is_none(value)


def version(value: object) -> object:
    """Return a Python version as a string: in cdk.json it may be written as a number."""
    return str(value) if isinstance(value, float) else value


def labels(value: object) -> object:
    """Return the labels of API keys as a list; they may be a number or a comma-separated string."""
    return [str(value)] if isinstance(value, int) else split(value)


def from_json(value: object) -> object:
    """Parse a string as JSON, because `-c` passes strings; return any other value unchanged. Raises `ValueError`."""
    try:
        return json.loads(value, object_pairs_hook=once) if isinstance(value, str) else value
    except json.JSONDecodeError:
        raise ValueError("this is not JSON") from None


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of a JSON object. Raises `ValueError` if two have the same name: `json` would drop one."""
    held = dict(pairs)
    if len(held) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it contains '{next(name for name in names if names.count(name) > 1)}' twice")
    return held


Topic = Annotated[str, StringConstraints(pattern=TOPIC_PATTERN)]
Email = Annotated[str, AfterValidator(address)]
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
LogRetention = Annotated[
    Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
    BeforeValidator(integer),
]


def traced(value: object) -> object:
    """Translate `tracing`'s earlier values `true` and `false` to `all` and `off`; return any other value unchanged."""
    return {"true": "all", "false": "off"}.get(str(value).lower(), value)


# The runtimes of https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html on which this code runs.
PythonVersion = Annotated[Literal["3.11", "3.12", "3.13", "3.14"], BeforeValidator(version)]
