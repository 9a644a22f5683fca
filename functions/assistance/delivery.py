"""The delivery engine: everything about a consumer but the sending itself.

Powertools' idempotency decides who sends; its record is the delivery item: see `delivery_item.py`.
"""

import math
import random
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
)
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ValidationError

from assistance import dead_letters, unforeseen
from assistance.aws import AWS_ERRORS, error_code
from assistance.clock import Clock, utc_now
from assistance.deliveries import expiry
from assistance.delivery_item import DeliveryItem
from assistance.errors import (
    Deferred,
    GaveUp,
    PermanentFailure,
    RateLimited,
    Superseded,
    TableUnavailable,
    TransientFailure,
    Unreadable,
)
from assistance.metrics import Metric, Tally
from assistance.models import Delivery, Message, Outgoing, Status
from assistance.observability import logger
from assistance.received import receive_count, received_since
from assistance.requests import Requests
from assistance.routing import CALLBACK, Lane, RetryPolicy
from assistance.together import Gathering, Send, Together, threads

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# Twelve hours is SQS's limit, counted from the receive:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
MAX_DELAY_SECONDS = 42_000
# A provider that limits its rate for that long is down as far as this request goes (a day's quota, say): from then on
# such attempts count, and lead to the fallback.
PATIENCE = timedelta(hours=1)
_PEER_SECONDS = 5
_LOGGED = (TransientFailure, IdempotencyAlreadyInProgressError, IdempotencyPersistenceLayerError)
"""`Consumer.process` logs these before it raises them."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """Delivers one channel's messages, each at most once at a time and once it is delivered never again."""

    channel: Lane
    send: Send | Together
    requests: Requests
    sqs: "SQSClient"
    queue_url: str
    dlq_url: str
    retry: RetryPolicy
    retention: timedelta
    clock: Clock = utc_now
    jitter: Callable[[float, float], float] = field(default=random.uniform)
    pool: Callable[[int], Executor] = ThreadPoolExecutor

    def handle(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Process a batch from SQS. Returns the partial response that names the records to be received again.

        The records of a batch are attempted side by side, so one slow send holds up no other and the batch takes no
        longer than its slowest send.
        """
        tally = Tally()
        records = [SQSRecord(record) for record in event["Records"]]
        with self.pool(threads(len(records))) as pool:
            sending = self._sending(len(records), pool)

            def attempt(record: SQSRecord) -> None:
                with sending() as send:
                    self.process(record, context, tally, send)

            attempts = iter([pool.submit(attempt, record) for record in records])

            def outcome(record: SQSRecord) -> None:
                try:
                    next(attempts).result()
                except _LOGGED:
                    raise
                except Exception as error:
                    request_id = dead_letters.request_id_in(record.body)
                    unforeseen.log(error, message_id=record.message_id, request_id=request_id, channel=self.channel)
                    raise

            processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
            answer = process_partial_response(event=event, record_handler=outcome, processor=processor)
        tally.emit()
        return dict(answer)

    def _sending(self, records: int, pool: Executor) -> Callable[[], AbstractContextManager[Send]]:
        """What gives each record of a batch what it sends by, until it has ended."""
        send = self.send
        if isinstance(send, Together):
            return Gathering(records, send, pool).record
        return lambda: nullcontext(send)

    def process(self, record: SQSRecord, context: LambdaContext, tally: Tally, send: Send) -> None:
        """Deliver one message. Returns when it may be acknowledged; raises when it must be received again."""
        try:
            message = _read(record.body, self.channel)
        except PermanentFailure as error:
            # Whose it is, if that can be read, the reconciler finds out where it now lies.
            logger.error("a message does not parse", message_id=record.message_id, error_code=error.code)
            self._dead_letter(record, error.code)
            tally.failed(self.channel, None)
            return
        if message.fallback and message.fallback.channel != self.channel:
            # Published to its own channel and to the fallback at once: here it is not the fallback.
            message = message.model_copy(update={"fallback": None})
        about = {"request_id": message.request.id, "channel": self.channel}
        try:
            self._deliver(message, record, context, tally, send)
        except Superseded as error:
            logger.warning("not sent: no longer needed", extra=about | {"error_code": error.code})
        except GaveUp as error:
            logger.error("gave up", extra=about | {"error_code": error.code})
            tally.failed(self.channel, message.request.topic)
        except TransientFailure as error:
            self._hide(record, error.retry_after or 0)
            logger.warning("will retry", extra=about | {"error_code": error.code})
            raise
        except IdempotencyAlreadyInProgressError:
            self._hide(record, self.jitter(0, self.retry.ceiling(receive_count(record))))
            logger.info("another attempt is under way", extra=about)
            raise
        except IdempotencyPersistenceLayerError as error:
            cause = error.__cause__
            if isinstance(cause, AWS_ERRORS):
                logger.warning(
                    "the delivery item could not be written", extra=about | {"error_code": error_code(cause)}
                )
            else:
                unforeseen.log(cause or error, **about)
            raise

    def _deliver(self, message: Message, record: SQSRecord, context: LambdaContext, tally: Tally, send: Send) -> None:
        item = DeliveryItem(
            self.requests.table,
            self.channel,
            message,
            claim=timedelta(milliseconds=context.get_remaining_time_in_millis()),
            doubt_delay=timedelta(seconds=self.retry.doubt_delay),
            ttl=expiry(message.request.created_at, self.retention),
            clock=self.clock,
        )

        sent = False

        def send_or_give_up(*, request_id: str) -> str:  # noqa: ARG001
            nonlocal sent
            try:
                result = self._attempt(message, item, tally, send, since=received_since(record, self.clock()))
            except Deferred as error:
                # However long a provider limits its rate: its queue must not wake up all at once, unless it can go out
                # together. Then what waits for ever longer would only see what is new go first.
                together = isinstance(self.send, Together)
                spread = self.jitter(0, self.retry.ceiling(1 if together else receive_count(record)))
                self._plan(error, item, (error.retry_after or 0) + spread)
                raise
            except TransientFailure as error:
                if item.claim.number < self.retry.attempts:
                    spread = self.jitter(0, self.retry.ceiling(item.claim.number))
                    self._plan(error, item, (error.retry_after or 0) + spread)
                    raise
                self._dead_letter(record, error.code)
                raise GaveUp(error.code, in_doubt=error.in_doubt) from error
            except PermanentFailure as error:
                self._dead_letter(record, error.code)
                raise GaveUp(error.code, in_doubt=False) from error
            sent = True
            return result

        once = idempotent_function(
            send_or_give_up,
            data_keyword_argument="request_id",
            persistence_store=item,
            config=IdempotencyConfig(lambda_context=context),
            key_prefix=self.channel,
        )
        once(request_id=message.request.id)
        logger.info("delivered", request_id=message.request.id, channel=self.channel, attempts=item.claim.number)
        if sent:
            # A duplicate of what was delivered before gets here too.
            where: dict[str, Any] = {"channel": self.channel, "topic": message.request.topic}
            tally.add(Metric.DELIVERED, **where)
            if message.force is None:
                tally.took(Metric.ACCEPTED_TO_DELIVERED, message.request.created_at, self.clock(), **where)
        elif message.fallback:
            # What an operator had sent by it before ends the request only now.
            item.tell_again()

    def _attempt(self, message: Message, item: DeliveryItem, tally: Tally, send: Send, *, since: datetime) -> str:
        request, claim = message.request, item.claim
        if claim.number > self.retry.attempts:
            # The last attempt that was allowed died without a word.
            raise PermanentFailure("attempts_exhausted")
        alone = message.force is not None or message.ended_at is not None
        if not alone and (message.fallback or claim.settled is Status.FAILED):
            self._yield_to_other_channel(message)
        if claim.in_doubt:
            logger.warning("an earlier attempt may have sent this", request_id=request.id, channel=self.channel)
        outgoing = Outgoing(
            request,
            in_doubt=claim.in_doubt,
            fallback=message.fallback,
            force=message.force,
            refused_together=claim.refused_together,
        )
        attempted = True
        try:
            return send(outgoing)
        except RateLimited as error:
            if self.clock() - since > PATIENCE:
                raise TransientFailure(error.code, retry_after=error.retry_after) from error
            attempted = False
            raise
        except Deferred:
            attempted = False
            raise
        finally:
            if attempted:
                tally.add(Metric.ATTEMPTS, channel=self.channel, topic=request.topic)

    def _yield_to_other_channel(self, message: Message) -> None:
        """Let a fallback and a redrive not both send.

        Each has claimed its own delivery before it looks at the other's, so at least one of them sees the other.
        """
        try:
            record = self.requests.get(message.request.id)
        except TableUnavailable as error:
            raise Deferred("table_unavailable") from error
        except Unreadable as error:
            raise TransientFailure("request_unreadable") from error
        if record is None:
            return
        if record.status is Status.DELIVERED:
            raise Superseded("delivered_on_another_channel")
        if message.fallback:
            others = (channel for channel in record.channels if channel != self.channel)
            if any(self._redriven(record.delivery(channel)) for channel in others):
                raise Deferred("redrive_under_way", retry_after=_PEER_SECONDS)
        elif (fallback := record.fallback) and (
            fallback.channel in record.pending or self._redriven(record.delivery(fallback.channel))
        ):
            raise Deferred("fallback_under_way", retry_after=_PEER_SECONDS)

    def _redriven(self, delivery: Delivery | None) -> bool:
        """Whether what had failed is being sent just now."""
        if delivery is None or delivery.status is not Status.FAILED or delivery.claimed_until is None:
            return False
        return datetime.fromisoformat(delivery.claimed_until) > self.clock()

    def _plan(self, error: TransientFailure, item: DeliveryItem, delay: float) -> None:
        """Set when the next attempt is due: after the delay, later when in doubt."""
        if error.in_doubt or item.claim.in_doubt:
            delay = max(delay, self.retry.doubt_delay)
        error.retry_after = min(math.ceil(delay), MAX_DELAY_SECONDS)

    def _dead_letter(self, record: SQSRecord, code: str) -> None:
        """Put the message, with the reason, into the DLQ. Only then may it be acknowledged."""
        sqs, url, message_id = self.sqs, self.dlq_url, record.message_id
        dead_letters.write(sqs, url, record.body, code=code, channel=self.channel, source_message_id=message_id)

    def _hide(self, record: SQSRecord, delay: float) -> None:
        """Hide the message until its next attempt is due."""
        try:
            self.sqs.change_message_visibility(
                QueueUrl=self.queue_url,
                ReceiptHandle=record.receipt_handle,
                VisibilityTimeout=math.ceil(delay),
            )
        except AWS_ERRORS as error:
            # The queue's own visibility timeout then is the delay.
            logger.warning("the back-off could not be set", error_code=error_code(error))


def _read(body: str, lane: Lane) -> Message:
    """The message for this destination. Raises `PermanentFailure` if a later version wrote it, or if it is damaged."""
    try:
        message = Message.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        later = any(detail["loc"] == ("version",) for detail in details)
        raise PermanentFailure("unknown_version" if later else "malformed_message") from None
    if (message.ended_at is None) is (lane is CALLBACK):
        # Only messages of the callback carry the time of an end.
        raise PermanentFailure("malformed_message")
    return message
