"""Since when a delivery is on its way, in milliseconds since 1970: the alarms watch how old the oldest one is."""

from assistance.domain.record import Delivery, Kind, Record, StandsInFor


def waits_since(record: Record, delivery: Delivery) -> int:
    """Since when there is something to send. The record keeps that of a resend until its first attempt is put off."""
    if isinstance(delivery.cause, StandsInFor) and (failed := record.delivery(delivery.cause.channel)):
        return failed.final_at
    return (delivery.due_at or record.created_at) if delivery.kind is Kind.RESEND else record.created_at


def open_since(record: Record, delivery: Delivery) -> int:
    """Since when somebody waits for it: if the request had ended before, only since it is on its way again."""
    if delivery.kind is Kind.RESEND:
        return delivery.attempts[0].at if delivery.attempts else waits_since(record, delivery)
    had_ended = any(attempt.returned_at for other in record.of_request for attempt in other.attempts)
    return waits_since(record, delivery) if had_ended else record.created_at
