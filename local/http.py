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
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        """The body, which is JSON."""
        return json.loads(self.body)


def call(method: str, url: str, *, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Call. Raises `NoAnswer`."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    content = None if body is None else json.dumps(body).encode()
    content_type = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, target, content, {**content_type, **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, HTTPException) as error:
        raise NoAnswer(f"{method} {url}: {type(error).__name__}") from error
    finally:
        connection.close()
