"""The delivery engine: everything about a consumer but the sending itself.

Powertools' idempotency decides who sends; its record is the delivery item itself, so that "sent" and "recorded as
delivered" are one write and can't disagree. The item is claimed before a send and completed after it:

    (none) | retrying | failed | sending with an expired claim  ──claim──▶  sending
    sending  ──sent──▶ delivered      ──transient──▶ retrying      ──gave up, message in the DLQ──▶ failed
"""

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, cast

from aws_lambda_powertools.utilities.batch import (
    AsyncBatchProcessor,
    EventType,
    async_process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    BasePersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ValidationError

from assistance.aws import AWS_ERRORS, error_code
from assistance.clock import Clock, epoch_ms, timestamp, utc_now
from assistance.errors import DeliveryError, GaveUp, PermanentFailure, RateLimited, TransientFailure
from assistance.models import AssistanceRequest, Message, Status
from assistance.observability import logger
from assistance.requests import Item, delivery_key, expiry, plain
from assistance.routing import Channel, RetryPolicy
from assistance.schema import TTL

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_sqs import SQSClient

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html
MAX_VISIBILITY_SECONDS = 43_200


class Send(Protocol):
    """What a channel implements."""

    def __call__(self, request: AssistanceRequest, *, in_doubt: bool) -> str:
        """Send the request and return the provider's id of the message, or raise a `DeliveryError`.

        `in_doubt` says that an earlier attempt may have reached the provider: where the provider can be asked, ask.
        """


@dataclass(slots=True)
class Attempt:
    """What the claim tells about the attempt that it allows."""

    number: int = 1
    in_doubt: bool = False


class DeliveryItem(BasePersistenceLayer):
    """Powertools' idempotency record of one delivery, kept in its delivery item."""

    def __init__(
        self, table: "Table", channel: Channel, request: AssistanceRequest, *, claim: timedelta, ttl: int, clock: Clock
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.attempt = Attempt()
        self._table = table
        self._key = delivery_key(request.id, channel)
        self._clock = clock
        self._claim_expires_at = epoch_ms(clock() + claim)
        self._ttl = ttl
        self._error: Exception | None = None

    def _get_record(self, idempotency_key: str) -> DataRecord:
        item = self._table.get_item(Key=self._key, ConsistentRead=True).get("Item")
        if item is None:
            raise IdempotencyItemNotFoundError
        return _record(idempotency_key, item)

    def _put_record(self, data_record: DataRecord) -> None:
        """Claim the delivery, unless it is delivered or somebody's claim on it is live."""
        try:
            answer = self._table.update_item(
                Key=self._key,
                UpdateExpression=(
                    "SET #status = :sending, claim_expires_at = :expires, last_attempt_at = :now, "
                    "first_attempt_at = if_not_exists(first_attempt_at, :now), #ttl = :ttl ADD attempts :one"
                ),
                ConditionExpression=(
                    "attribute_not_exists(#status) OR #status IN (:retrying, :failed) "
                    "OR (#status = :sending AND claim_expires_at < :now_ms)"
                ),
                ExpressionAttributeNames={"#status": "status", "#ttl": TTL},
                ExpressionAttributeValues={
                    ":sending": Status.SENDING,
                    ":retrying": Status.RETRYING,
                    ":failed": Status.FAILED,
                    ":expires": self._claim_expires_at,
                    ":now": timestamp(self._clock()),
                    ":now_ms": epoch_ms(self._clock()),
                    ":ttl": self._ttl,
                    ":one": 1,
                },
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._table.meta.client.exceptions.ConditionalCheckFailedException as refused:
            existing = _record(data_record.idempotency_key, plain(cast(Item, refused.response)["Item"]))
            raise IdempotencyItemAlreadyExistsError(old_data_record=existing) from refused
        before: Item = answer.get("Attributes", {})
        self.attempt.number = int(before.get("attempts", 0)) + 1 - int(before.get("attempts_given_up", 0))
        # Taking over an expired claim: its holder died, perhaps after the provider had accepted the message.
        self.attempt.in_doubt = before.get("status") == Status.SENDING or bool(before.get("in_doubt", False))

    def _update_record(self, data_record: DataRecord) -> None:
        """It was sent: record it whatever else has happened, for nothing may send it again."""
        self._table.update_item(
            Key=self._key,
            UpdateExpression=(
                "SET #status = :delivered, delivered_at = :now, #result = :result REMOVE claim_expires_at, in_doubt"
            ),
            ExpressionAttributeNames={"#status": "status", "#result": "result"},
            ExpressionAttributeValues={
                ":delivered": Status.DELIVERED,
                ":now": timestamp(self._clock()),
                ":result": data_record.response_data,
            },
        )

    def delete_record(self, data: dict[str, Any], exception: Exception) -> None:
        """Powertools' hook for a send that raised: keep the error, then let go of the claim."""
        self._error = exception
        super().delete_record(data, exception)

    def _delete_record(self, data_record: DataRecord) -> None:  # noqa: ARG002
        """Let go of the claim and say why, unless somebody has taken it over."""
        error = self._error
        gave_up = isinstance(error, GaveUp)
        sets = ["#status = :status", "last_error = :error", "in_doubt = :doubt"]
        values: dict[str, Any] = {
            ":status": Status.FAILED if gave_up else Status.RETRYING,
            ":error": error.code if isinstance(error, DeliveryError) else "unexpected_error",
            ":doubt": self.attempt.in_doubt or _leaves_doubt(error),
            ":sending": Status.SENDING,
            ":mine": self._claim_expires_at,
        }
        if gave_up:
            # A redriven message starts with a fresh budget of attempts.
            sets += ["failed_at = :now", "attempts_given_up = attempts"]
            values[":now"] = timestamp(self._clock())
        add = ""
        if isinstance(error, RateLimited):
            add, values[":uncount"] = " ADD attempts :uncount", -1
        try:
            self._table.update_item(
                Key=self._key,
                UpdateExpression=f"SET {', '.join(sets)} REMOVE claim_expires_at{add}",
                ConditionExpression="#status = :sending AND claim_expires_at = :mine",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=values,
            )
        except self._table.meta.client.exceptions.ConditionalCheckFailedException:
            logger.warning("the claim had already passed to another attempt")


def _leaves_doubt(error: Exception | None) -> bool:
    """Whether the provider may have taken the message all the same. An error we can't name may hide that it did."""
    return error.in_doubt if isinstance(error, TransientFailure) else not isinstance(error, DeliveryError)


def _record(idempotency_key: str, item: Item) -> DataRecord:
    if item["status"] == Status.DELIVERED:
        return DataRecord(idempotency_key, status="COMPLETED", response_data=item["result"])
    return DataRecord(idempotency_key, status="INPROGRESS")


@dataclass(frozen=True, slots=True)
class Consumer:
    """Delivers one channel's messages, each at most once at a time and once it is delivered never again."""

    channel: Channel
    send: Send
    table: "Table"
    sqs: "SQSClient"
    queue_url: str
    dlq_url: str
    retry: RetryPolicy
    retention: timedelta
    clock: Clock = utc_now
    jitter: Callable[[float, float], float] = field(default=random.uniform)

    def handle(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Process a batch from SQS. Returns the partial response that names the records to be received again.

        The records of a batch are attempted side by side, so one slow send holds up no other and the batch takes no
        longer than its slowest send.
        """

        async def attempt(record: SQSRecord) -> None:
            await asyncio.to_thread(self.process, record, context)

        processor = AsyncBatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        answer = async_process_partial_response(
            event=event, record_handler=attempt, processor=processor, context=context
        )
        return dict(answer)

    def process(self, record: SQSRecord, context: LambdaContext) -> None:
        """Deliver one message. Returns when it may be acknowledged; raises when it must be received again."""
        try:
            request = Message.model_validate_json(record.body).request
        except ValidationError:
            logger.error("a message does not parse", message_id=record.message_id)
            self._dead_letter(record, "malformed_message")
            return
        try:
            self._deliver(request, record, context)
        except GaveUp as error:
            logger.error("gave up", request_id=request.id, channel=self.channel, error_code=error.code)
        except TransientFailure as error:
            self._back_off(record, error.retry_after)
            logger.warning("will retry", request_id=request.id, channel=self.channel, error_code=error.code)
            raise
        except IdempotencyAlreadyInProgressError:
            self._back_off(record, None)
            logger.info("another attempt is under way", request_id=request.id, channel=self.channel)
            raise

    def _deliver(self, request: AssistanceRequest, record: SQSRecord, context: LambdaContext) -> None:
        item = DeliveryItem(
            self.table,
            self.channel,
            request,
            claim=timedelta(milliseconds=context.get_remaining_time_in_millis()),
            ttl=expiry(request.created_at, self.retention),
            clock=self.clock,
        )

        def send_or_give_up(*, request_id: str) -> str:  # noqa: ARG001
            try:
                return self._attempt(request, item.attempt)
            except RateLimited:
                raise
            except TransientFailure as error:
                if item.attempt.number < self.retry.attempts:
                    raise
                self._dead_letter(record, error.code)
                raise GaveUp(error.code) from error
            except PermanentFailure as error:
                self._dead_letter(record, error.code)
                raise GaveUp(error.code) from error

        config = IdempotencyConfig(lambda_context=context)
        once = idempotent_function(
            send_or_give_up,
            data_keyword_argument="request_id",
            persistence_store=item,
            config=config,
            key_prefix=self.channel,
        )
        once(request_id=request.id)
        logger.info("delivered", request_id=request.id, channel=self.channel, attempts=item.attempt.number)

    def _attempt(self, request: AssistanceRequest, attempt: Attempt) -> str:
        if attempt.number > self.retry.attempts:
            # The last attempt that was allowed died without a word.
            raise PermanentFailure("attempts_exhausted")
        if attempt.in_doubt:
            logger.warning("an earlier attempt may have sent this", request_id=request.id, channel=self.channel)
        return self.send(request, in_doubt=attempt.in_doubt)

    def _dead_letter(self, record: SQSRecord, code: str) -> None:
        """Put the message, with the reason, into the DLQ. Only then may it be acknowledged."""
        self.sqs.send_message(
            QueueUrl=self.dlq_url,
            MessageBody=record.body,
            MessageAttributes={
                "error_code": {"DataType": "String", "StringValue": code},
                "channel": {"DataType": "String", "StringValue": self.channel},
                "source_message_id": {"DataType": "String", "StringValue": record.message_id},
            },
        )

    def _back_off(self, record: SQSRecord, retry_after: float | None) -> None:
        """Hide the message until its next attempt is due: full jitter, or what the provider asks for."""
        receive_count = int(record.attributes.approximate_receive_count)
        delay = self.jitter(0, self.retry.ceiling(receive_count)) if retry_after is None else retry_after
        try:
            self.sqs.change_message_visibility(
                QueueUrl=self.queue_url,
                ReceiptHandle=record.receipt_handle,
                VisibilityTimeout=min(math.ceil(delay), MAX_VISIBILITY_SECONDS),
            )
        except AWS_ERRORS as error:
            # The queue's own visibility timeout then is the delay.
            logger.warning("the back-off could not be set", error_code=error_code(error))
