"""A request's end as a webhook: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from math import floor
from typing import Final

from standardwebhooks import Webhook

from assistance.clock import epoch_ms
from assistance.models import RequestRecord

KEY_BYTES: Final = range(24, 65)


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


def sign(id_: str, body: str, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """The specification's headers, with a signature by each of the secrets. Raises `ValueError` if one is none."""
    keys = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in secrets]
    if not keys or any(len(key) not in KEY_BYTES for key in keys):
        raise ValueError("a signing key has 24 to 64 bytes")
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(floor(now.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(id_, now, body) for key in keys),
    }
