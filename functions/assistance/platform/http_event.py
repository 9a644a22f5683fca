"""The body and headers of an HTTP call in API Gateway's event, for the functions that answer one.

https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#apigateway-example-event
"""

import base64
from collections import defaultdict
from collections.abc import Mapping
from typing import Any


def body_of(event: dict[str, Any]) -> str | None:
    """The body as text; None if it can't be decoded."""
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body)
    try:
        return base64.b64decode(body, validate=True).decode()
    except ValueError:
        return None


def headers_of(event: Mapping[str, Any]) -> dict[str, set[str]]:
    """Each header's distinct values, by its name in lower case. Of several, a proxy may use one, and we another.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, value in (event.get("headers") or {}).items():
        found[name.lower()].add(value)
    for name, values in (event.get("multiValueHeaders") or {}).items():
        found[name.lower()].update(values)
    return found
