"""A request's end as a webhook: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""

import json
from collections.abc import Sequence
from datetime import datetime
from math import floor

from standardwebhooks import Webhook

from assistance.domain.record import End
from assistance.models import AssistanceRequest, Status
from assistance.platform.clock import timestamp_of


def webhook_id(request: AssistanceRequest, end: End) -> str:
    """The same for every attempt at telling of this end, and for no other end."""
    return f"{request.id}_{end.status}_{end.at}"


def compose(request: AssistanceRequest, end: End) -> str:
    """The body: what the bot was told when the request was accepted, with what has become of it since."""
    return json.dumps(
        {
            "type": f"assistance_request.{end.status}",
            "timestamp": timestamp_of(end.at),
            "data": request.told(Status(end.status)),
        }
    )


def sign(id_: str, body: str, keys: Sequence[bytes], now: datetime) -> dict[str, str]:
    """The specification's headers, with a signature by each of the keys."""
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(floor(now.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(id_, now, body) for key in keys),
    }
