"""HTTP calls as a bot makes them."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers in lower case, and the body, parsed if it is JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


def call(method: str, url: str, *, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Call a URL. `body` is sent as it is if it is bytes, else as JSON. An error status is an answer like any other."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310
    if data is not None:
        request.add_header("Content-Type", "application/json")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            return _answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, dict(error.headers), error.read())


def _answer(status: int, headers: Mapping[str, str], raw: bytes) -> Answer:
    names = {name.lower(): value for name, value in headers.items()}
    text = raw.decode(errors="replace")
    return Answer(status, names, json.loads(text) if "json" in names.get("content-type", "") and text else text)
