"""HTTP calls to servers on this machine, without the proxies that the environment names, and parsing of JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

TIMEOUT_SECONDS: Final = 30


class NoAnswer(ConnectionError):
    """The server gave no answer, or an incomplete one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a call. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        """The body, parsed as JSON."""
        return json.loads(self.body)


def call(method: str, url: str, *, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Make an HTTP call. A body that is not bytes is sent as JSON. Raises `NoAnswer`."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    content = _content(body)
    content_type = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, target, content, {**content_type, **(headers or {})})
        response = connection.getresponse()
        answered = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, answered, response.read())
    except (OSError, HTTPException) as error:
        raise NoAnswer(f"{method} {url}: {type(error).__name__}") from error
    finally:
        connection.close()


def signed(method: str, url: str, key: Mapping[str, str], *, body: object = None) -> Answer:
    """Make an HTTP call that is signed with this AWS access key, whose members have boto3's names."""
    request = AWSRequest(method, url, data=_content(body))
    credentials = Credentials(key["aws_access_key_id"], key["aws_secret_access_key"])
    SigV4Auth(credentials, "local", "us-east-1").add_auth(request)
    return call(method, url, body=body, headers=dict(request.headers.items()))


def parsed(body: bytes | str) -> Any:  # noqa: ANN401
    """Parse JSON. Raises `ValueError`, also for JSON that is nested too deeply."""
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _content(body: object) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
