"""What SES says of a mail after it has taken it.

Only the event that names the delivery's own message id counts. A bounce, a complaint or a reject first puts the
request's message into the dead-letter queue, then marks the delivery failed and uses the fallback, in one conditional
write: so a failed request always has its message in a dead-letter queue.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, Json

from assistance import dead_letters
from assistance.aws import AWS_ERRORS, error_code
from assistance.clock import Clock, timestamp, utc_now
from assistance.deliveries import Condition, Failure, confirm, delivery_key, fail, request_key
from assistance.errors import TableUnavailable
from assistance.items import Item, ItemModel, Seconds, checked, message_for
from assistance.metrics import Metric, Tally
from assistance.models import Message, Status
from assistance.observability import logger
from assistance.routing import Channel
from email_feedback.errors import DlqUnavailable, NotYetRecorded
from email_feedback.events import Bounce, Complaint, Delivery, Event, Other, Reject

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_sqs import SQSClient


class _Mailed(ItemModel):
    """The delivery by email. Powertools keeps a result as JSON: that of a send is SES's id of the mail."""

    status: Status
    result: str | None = None
    message_id: Annotated[Json[str] | None, Field(alias="result")] = None
    ttl: Seconds


@dataclass(frozen=True, slots=True)
class Feedback:
    """Takes SES's events, each as often as it comes and in any order."""

    table: "Table"
    sqs: "SQSClient"
    dlq_url: str
    clock: Clock = utc_now

    def take(self, event: Event, *, source_message_id: str) -> None:
        """Act on an event. Raises `NotYetRecorded`, `DlqUnavailable` or `TableUnavailable`: bring it again later.

        Raises `Unreadable` too, which is for somebody to look at.
        """
        if isinstance(event, Other):
            logger.info("an event that changes nothing", event_type=event.event_type)
            return
        about = {"request_id": event.mail.request_id, "event_type": event.event_type}
        item = self._mailed(event)
        if item is None:
            logger.warning("feedback on a request that is not known, or no longer", extra=about)
        elif item.message_id == event.mail.message_id:
            self._act(event, item, about, source_message_id)
        elif item.status in {Status.DELIVERED, Status.FAILED}:
            logger.warning("feedback on a mail that is not the delivery's", extra=about)
        else:
            raise NotYetRecorded(event.mail.request_id)

    def _act(
        self,
        event: Bounce | Complaint | Reject | Delivery,
        item: _Mailed,
        about: dict[str, Any],
        source_message_id: str,
    ) -> None:
        if isinstance(event, Delivery):
            self._confirm(event, item)
            logger.info("confirmed", extra=about)
        elif item.status == Status.FAILED:
            logger.info("failed already", extra=about)
        elif item.status == Status.DELIVERED:
            self._fail(event, item, about | {"error_code": event.code}, source_message_id)
        else:
            # It is being sent once more, which decides whether this mail still counts.
            raise NotYetRecorded(event.mail.request_id)

    def _confirm(self, event: Delivery, item: _Mailed) -> None:
        try:
            at = timestamp(event.delivery.timestamp)
            confirm(self.table, event.mail.request_id, Channel.EMAIL, str(item.result), at)
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error

    def _fail(
        self, event: Bounce | Complaint | Reject, item: _Mailed, about: dict[str, Any], source_message_id: str
    ) -> None:
        request = self._read(request_key(event.mail.request_id))
        if request is None:
            logger.warning("feedback on a request that is no longer known", extra=about)
            return
        message = message_for(request, Channel.EMAIL)
        self._dead_letter(message, event.code, source_message_id)
        failure = Failure(
            request=message.request,
            channel=Channel.EMAIL,
            code=event.code,
            in_doubt=False,
            at=timestamp(self.clock()),
            ttl=item.ttl,
            had_ended=Status.DELIVERED,
        )
        condition = Condition(
            "#status = :delivered AND #result = :result",
            {"#status": "status", "#result": "result"},
            {":delivered": Status.DELIVERED, ":result": item.result},
        )
        try:
            failed = fail(self.table, failure, condition, entry="timeline")
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error
        if failed:
            logger.error("failed after SES had taken it", extra=about)
            tally = Tally()
            # Not by channel alone, for the alarm: the channel delivers, an address does not. Its letter has an alarm.
            tally.add(Metric.FAILED, channel=Channel.EMAIL, topic=message.request.topic)
            tally.emit()
        elif (now := self._mailed(event)) and (now.message_id == event.mail.message_id and now.status != Status.FAILED):
            # It has begun to be sent once more, and if that comes to nothing this mail still counts.
            raise NotYetRecorded(event.mail.request_id)
        else:
            # The letter is one too many. A redrive of it sends nothing that has been delivered.
            logger.warning("the delivery has changed meanwhile", extra=about)

    def _mailed(self, event: Bounce | Complaint | Reject | Delivery) -> _Mailed | None:
        item = self._read(delivery_key(event.mail.request_id, Channel.EMAIL))
        return None if item is None else checked(_Mailed, item)

    def _read(self, key: dict[str, str]) -> Item | None:
        try:
            return self.table.get_item(Key=key, ConsistentRead=True).get("Item")
        except AWS_ERRORS as error:
            raise TableUnavailable(error_code(error)) from error

    def _dead_letter(self, message: Message, code: str, source_message_id: str) -> None:
        try:
            dead_letters.write(
                self.sqs,
                self.dlq_url,
                message.model_dump_json(ensure_ascii=True),
                code=code,
                channel=Channel.EMAIL,
                source_message_id=source_message_id,
            )
        except AWS_ERRORS as error:
            raise DlqUnavailable(error_code(error)) from error
