"""Callbacks, as in https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md."""

import json
from collections.abc import Sequence
from datetime import datetime
from math import floor

from standardwebhooks import Webhook

from assistance.domain.record import End, Handled
from assistance.models import AssistanceRequest
from assistance.platform.clock import timestamp_of


def webhook_id(request: AssistanceRequest, event: End | Handled) -> str:
    """The webhook's id. It is the same for every attempt to report this event, and different for each event."""
    return f"{request.id}_{_name(event)}_{event.at}"


def compose(request: AssistanceRequest, event: End | Handled) -> str:
    """The callback's body: the event, the request's status after it, and the members that identify the request."""
    at, data = timestamp_of(event.at), request.summary_with_reference(event.status)
    if isinstance(event, Handled):
        data[_name(event)] = {"at": at, "by": event.by, "via": event.via}
    return json.dumps({"type": f"assistance_request.{_name(event)}", "timestamp": at, "data": data})


def _name(event: End | Handled) -> str:
    return event.how if isinstance(event, Handled) else event.status


def sign(id_: str, body: str, keys: Sequence[bytes], now: datetime) -> dict[str, str]:
    """The headers that Standard Webhooks requires, with a signature by each of the keys."""
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(floor(now.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(id_, now, body) for key in keys),
    }
