"""A request's end as a webhook: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""

import json
from collections.abc import Sequence
from datetime import datetime
from math import floor

from standardwebhooks import Webhook

from assistance.clock import epoch_ms
from assistance.models import RequestRecord


def webhook_id(record: RequestRecord, ended_at: str) -> str:
    """The same for every attempt at telling of this end, and for no other end."""
    return f"{record.request.id}_{record.status}_{epoch_ms(datetime.fromisoformat(ended_at))}"


def compose(record: RequestRecord, ended_at: str) -> str:
    """The body: what the bot was told when the request was accepted, with what has become of it since."""
    return json.dumps(
        {
            "type": f"assistance_request.{record.status}",
            "timestamp": ended_at,
            "data": record.request.summary(record.status),
        }
    )


def sign(id_: str, body: str, keys: Sequence[bytes], now: datetime) -> dict[str, str]:
    """The specification's headers, with a signature by each of the keys."""
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(floor(now.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(id_, now, body) for key in keys),
    }
