"""The start of a delivery's wait, in milliseconds since 1970: alarms watch the age of the oldest one."""

from assistance.domain.record import Delivery, Kind, Record


def pending_since(record: Record, delivery: Delivery) -> int:
    """When the wait for its channel began: when it was first tried or put off, or else when it was published."""
    tried = [attempt.at for attempt in delivery.attempts if attempt.at >= delivery.wanted_since]
    put_off = [delivery.put_off_since] if delivery.put_off_since else []
    return min([*tried, *put_off], default=delivery.due_at or delivery.wanted_since or record.created_at)


def open_since(record: Record, delivery: Delivery) -> int:
    """When somebody's wait for it began. If the request had ended before, when it was on its way again."""
    had_ended = delivery.kind in {Kind.RESEND, Kind.ESCALATION} or any(
        attempt.returned_at for other in record.deliveries for attempt in other.attempts
    )
    return (delivery.wanted_since or pending_since(record, delivery)) if had_ended else record.created_at
