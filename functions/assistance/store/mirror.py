"""Makes the delivery items that version 1 needs after a rollback, for the requests that version 1 has accepted.

Version 1 does not read records. Without these items it would send again the requests that this version has sent.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from assistance.domain.record import Attempt, Delivery, Kind, Outcome, Record
from assistance.domain.transitions import CALLBACK
from assistance.history import RESEND
from assistance.platform.clock import timestamp_of
from assistance.store.items import Item
from assistance.store.schema import CREATED_AT, OUTBOX_SHARD, PARTITION_KEY, SORT_KEY, TOPIC, TTL

DELIVERY_PREFIX = "DELIVERY#"
CALLBACK_PREFIX = "CALLBACK#"
_ENTRY = frozenset({OUTBOX_SHARD, "outbox_channels", "outbox_since", CREATED_AT, TOPIC})


def items_of(request_id: str, before: Record, after: Record, olds: Mapping[str, Item]) -> Iterator[dict[str, Any]]:
    """Version 1's items for destinations with changed deliveries. `olds`: its present items, by their sort keys."""
    changed = {each.destination for each in after.deliveries if each != before.delivery(each.name)}
    for delivery in after.deliveries:
        sort_key = _sort_key(delivery)
        if sort_key and delivery.destination in changed and (delivery.attempts or delivery.waiting_for):
            # An old item may be in the outbox, because its callback is not published yet. Keep it there.
            entry = {name: value for name, value in olds.get(sort_key, {}).items() if name in _ENTRY}
            item = _item(delivery) | _resends(delivery, after)
            yield {**entry, PARTITION_KEY: request_id, SORT_KEY: sort_key, TTL: after.ttl, **item}


def timeline(delivery: Delivery) -> list[dict[str, Any]]:
    """The attempts in the form in which version 1 stores them."""
    return [entry for attempt in delivery.attempts for entry in _entries(attempt)]


def _sort_key(delivery: Delivery) -> str | None:
    end = delivery.name.removeprefix(f"{CALLBACK}-")
    match delivery.kind:
        case Kind.OWN | Kind.FALLBACK:
            return f"{DELIVERY_PREFIX}{delivery.destination}"
        case Kind.CALLBACK if not end.isdecimal():
            # Version 1 named a callback by the time of the final status. This version numbers its callbacks, and
            # version 1 does not handle the messages of numbered callbacks.
            return f"{CALLBACK_PREFIX}{end}"
    return None


def _item(delivery: Delivery) -> dict[str, Any]:
    attempts = sum(not attempt.found for attempt in delivery.attempts)
    errors = [attempt.error for attempt in delivery.attempts if attempt.error]
    results = [attempt for attempt in delivery.attempts if attempt.result]
    item = {
        "status": "sending" if delivery.is_under_way else str(delivery.final or Outcome.RETRYING),
        "attempts": attempts,
        "attempts_given_up": max(attempts - delivery.attempts_used, 0),
        "timeline": timeline(delivery),
        "in_doubt": bool(delivery.doubts),
        "last_error": delivery.waiting_for or (errors[-1] if errors else None),
        "refused_together": delivery.alone or None,
        "claim_expires_at" if delivery.is_under_way else "not_before": delivery.locked_until or None,
        "next_attempt_at": timestamp_of(delivery.due_at) if delivery.due_at else None,
        "result": json.dumps(results[-1].result) if results else None,
        "confirmed_at": timestamp_of(confirmed) if results and (confirmed := results[-1].confirmed_at) else None,
    }
    if delivery.final:
        item[f"{delivery.final}_at"] = timestamp_of(delivery.final_at)
    return {name: value for name, value in item.items() if value is not None}


def _entries(attempt: Attempt) -> Iterator[dict[str, Any]]:
    outcome = None if attempt.outcome is Outcome.UNKNOWN else str(attempt.outcome)
    error = attempt.error if attempt.returned_at is None else None
    entry = {"at": timestamp_of(attempt.at), "outcome": outcome, "error": error, "in_doubt": attempt.in_doubt or None}
    yield {name: value for name, value in entry.items() if value is not None}
    if attempt.returned_at is not None:
        yield {"at": timestamp_of(attempt.returned_at), "outcome": str(Outcome.FAILED), "error": attempt.error or ""}


def _resends(delivery: Delivery, record: Record) -> dict[str, Any]:
    """The ids of the resends on this channel: `forced` were delivered, `forced_in_doubt` may have arrived."""
    resends = [
        each for each in record.deliveries if each.kind is Kind.RESEND and each.destination == delivery.destination
    ]
    done = {each.name.removeprefix(RESEND) for each in resends if each.final is Outcome.DELIVERED}
    doubts = {each.name.removeprefix(RESEND) for each in resends if each.doubts}
    return {name: value for name, value in (("forced", done), ("forced_in_doubt", doubts)) if value}
