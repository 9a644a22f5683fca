"""One HTTP call to a server on this machine, past any proxy that the environment names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 30


class NoAnswer(Exception):
    """Nothing came back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        """The body, which is JSON."""
        return json.loads(self.body)


def call(method: str, url: str, *, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Call; a body that is not bytes is sent as JSON. Names of the answer's headers are in lower case.

    Raises `NoAnswer`.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
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
