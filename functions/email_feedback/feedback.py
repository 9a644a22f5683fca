"""Handles SES's events about mails that it has accepted. Recording an event twice changes nothing.

A bounce, a complaint or a reject is recorded first, with the fallback that follows from it. Then the request's message
goes into the dead-letter queue.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from assistance.domain import transitions
from assistance.domain.record import Attempt, Kind, Outcome, Record
from assistance.domain.record import Delivery as EmailDelivery
from assistance.engine import dead_letters
from assistance.engine.outbox import message_for
from assistance.platform.aws import AWS_ERRORS, SQSClient, error_code
from assistance.platform.clock import epoch_ms, utc_now
from assistance.platform.metrics import Metric, measure
from assistance.platform.observability import logger
from assistance.routing import Channel
from assistance.store.requests import RequestGone, Requests
from email_feedback.events import Bounce, Delivery, Event, Other, Refusal

Sent: TypeAlias = tuple[EmailDelivery, Attempt]
# Lambda retries a failed event after one minute, and once more after another two. Only the last call finds the event
# older than this: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
# The age counts from the time at which SNS published the event. The `timestamp` of a bounce is the time at which the
# recipient's mail server sent it. That server's clock may be wrong, and the bounce may have been on its way for long:
# https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
_EARLY_MS: Final = 120_000


class NotYetRecorded(Exception):
    """The event's mail, or its arrival, is not recorded yet, since this event was faster. A retry may find it."""


class DlqUnavailable(Exception):
    """The dead-letter queue can't take the request's message now. A retry will put it there."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """Handles SES's events, which may come more than once and in any order."""

    requests: Requests
    sqs: SQSClient
    dlq_url: str

    def process(self, event: Event, *, source_message_id: str, published_at: int) -> None:
        """Act on an event that SNS published with this id, at this time in milliseconds since 1970.

        Raises `NotYetRecorded`, `DlqUnavailable`, `TableUnavailable` or `Unreadable`.
        """
        if isinstance(event, Other) or (isinstance(event, Refusal) and event.is_not_spam):
            logger.info("an event that changes nothing", event_type=event.event_type)
            return
        about = {"request_id": event.request_id, "event_type": event.event_type}
        change = partial(_changed, event=event, published_at=published_at, now=epoch_ms(utc_now()))
        try:
            stored = self.requests.update(event.request_id, change)
            sent = stored.record.sent_as(event.message_id)
            if sent is None:
                _check_final(stored.record, about)
            elif isinstance(event, Delivery):
                logger.info("confirmed", extra=about)
            else:
                self._fail(event, stored.record, sent, about, source_message_id)
        except RequestGone:
            logger.warning("feedback on a request that is not known, or no longer", extra=about)

    def _fail(self, event: Bounce | Refusal, record: Record, sent: Sent, about: dict[str, Any], source: str) -> None:
        """Write the dead letter of a failure that is recorded, if this event is the one that caused it."""
        delivery, attempt = sent
        if delivery.final is Outcome.DELIVERED or attempt.error != event.code:
            logger.info("an event that changes nothing any more", extra=about)
            return
        request = self.requests.get(event.request_id)
        if request is None:
            raise RequestGone
        body = message_for(request.request, record, None if delivery.kind is Kind.OWN else delivery.name).json_text()
        try:
            dead_letters.write(
                self.sqs, self.dlq_url, body, code=event.code, channel=Channel.EMAIL, source_message_id=source
            )
        except AWS_ERRORS as error:
            raise DlqUnavailable(error_code(error)) from error
        logger.error("the mail failed after SES had accepted it", extra=about | {"error_code": event.code})
        # Don't count it by channel alone, which raises the alarm on the channel: only one address fails, not the
        # channel. The dead letter raises an alarm of its own.
        measure(Metric.FAILED, channel=Channel.EMAIL, topic=record.topic)


def _check_final(record: Record, about: dict[str, Any]) -> None:
    """Raise `NotYetRecorded` if a delivery may still record the event's mail. Else log `about`: no delivery sent it."""
    mails = [each for each in record.deliveries if each.destination == Channel.EMAIL]
    # A fallback or an escalation that nobody needs any more gets no final status, and no attempt at it follows.
    if any(mail.is_under_way or mail in record.unfinished for mail in mails):
        raise NotYetRecorded(about["request_id"])
    logger.warning("feedback on a mail that is not the delivery's", extra=about)


def _changed(record: Record, *, event: Bounce | Refusal | Delivery, published_at: int, now: int) -> Record:
    """The record after the event. A possible automatic reply changes nothing if the mail's arrival is confirmed.

    Raises `NotYetRecorded` if SES may still confirm the arrival, since its events come in any order.
    """
    result = event.message_id
    if isinstance(event, Delivery):
        return transitions.confirmed(record, result, at=epoch_ms(event.at))
    if isinstance(event, Bounce) and event.may_be_automatic_reply:
        found = record.sent_as(result)
        if found and found[1].confirmed_at is not None:
            return record
        if found and now - published_at < _EARLY_MS:
            raise NotYetRecorded(event.request_id)
    return transitions.returned(record, result, event.code, now=now)
