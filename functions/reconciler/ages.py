"""Since when a delivery is on its way, in milliseconds since 1970: the alarms watch how old the oldest one is."""

from assistance.domain.record import Delivery, Kind, Record


def pending_since(record: Record, delivery: Delivery) -> int:
    """Since when it waits for its channel: since it was tried or put off first, or else since it was published."""
    tried = [attempt.at for attempt in delivery.attempts if attempt.at >= delivery.wanted_since]
    put_off = [delivery.put_off_since] if delivery.put_off_since else []
    return min([*tried, *put_off], default=delivery.due_at or delivery.wanted_since or record.created_at)


def open_since(record: Record, delivery: Delivery) -> int:
    """Since when somebody waits for it: if the request had ended before, only since it is on its way again."""
    had_ended = delivery.kind in {Kind.RESEND, Kind.ESCALATION} or any(
        attempt.returned_at for other in record.deliveries for attempt in other.attempts
    )
    return (delivery.wanted_since or pending_since(record, delivery)) if had_ended else record.created_at
