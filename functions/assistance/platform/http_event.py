"""The body and headers of an HTTP call in API Gateway's event, for the take page and for Slack's buttons.

https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html#apigateway-example-event
"""

import base64
from collections import defaultdict
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


def headers_of(event: dict[str, Any]) -> dict[str, list[str]]:
    """The values of each header, by the header's name in lower case."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, values in (event.get("multiValueHeaders") or {}).items():
        found[name.lower()] += dict.fromkeys(values)
    return dict(found)
