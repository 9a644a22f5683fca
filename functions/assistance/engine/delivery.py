"""The delivery engine: everything that a consumer does, except the sending itself."""

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ValidationError

from assistance.domain.record import Kind
from assistance.domain.transitions import Refused
from assistance.engine import dead_letters, decisions
from assistance.engine.attempt import Attempt
from assistance.engine.batch_sending import BatchSend, Send, Sending, in_parts, send_alone, send_together
from assistance.engine.decisions import EXHAUSTED, UNEXPECTED, GaveUp, RetryLater, SendResult, Sent, decide
from assistance.errors import PermanentFailure, RateLimited, RefusedInBatch, TableUnavailable, Unreadable
from assistance.history import outgoing_of
from assistance.models import Message
from assistance.platform import unforeseen
from assistance.platform.aws import AWS_ERRORS, SQSClient, error_code
from assistance.platform.clock import Clock, epoch_ms, ms_of, utc_now
from assistance.platform.metrics import Metric, Tally
from assistance.platform.observability import logger
from assistance.platform.sqs_attributes import named_channels, receive_count
from assistance.routing import CALLBACK, Destination, RetryPolicy
from assistance.store.requests import Requests

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Consumer:
    """Delivers the messages of one channel's queue: one attempt at a delivery at a time, none once it has succeeded."""

    channel: Destination
    send: Send | BatchSend
    requests: Requests
    sqs: SQSClient
    queue_url: str
    dlq_url: str
    retry: RetryPolicy
    place: Callable[[str], str | None] = lambda _: None  # where requests of a topic are posted, if it can vary
    clock: Clock = utc_now
    jitter: Callable[[float, float], float] = field(default=random.uniform)
    pool: Callable[[int], Executor] = ThreadPoolExecutor

    def handle(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Process a batch from SQS, its records in parallel. Returns the records that SQS must deliver again."""
        tally, send = Tally(), self.send
        records = [SQSRecord(record) for record in event["Records"]]

        def begin(record: SQSRecord) -> Attempt | bool:
            return self._guarded(record, lambda: self._begin(record, context, tally))

        def end(attempt: Attempt, outcome: Sending) -> bool:
            return self._guarded(attempt.record, lambda: self._end(attempt, outcome(attempt.outgoing), tally))

        def deliver(send: Send, record: SQSRecord) -> bool:
            begun = begin(record)
            return end(begun, partial(send_alone, send)) if isinstance(begun, Attempt) else begun

        # For each record, one thread begins, one sends, and one ends.
        with self.pool(3 * len(records)) as pool:
            if isinstance(send, BatchSend):
                begun = [pool.submit(begin, record) for record in records]
                done: list[Future[Any]] = [*begun]
                for part in in_parts(begun):
                    attempts = {index: each for index, each in part.items() if isinstance(each, Attempt)}
                    outcome = send_together(send, [attempt.outgoing for attempt in attempts.values()], pool)
                    for index, attempt in attempts.items():
                        done[index] = pool.submit(end, attempt, outcome)
            else:
                done = [pool.submit(deliver, send, record) for record in records]
            again = [record.message_id for record, each in zip(records, done, strict=True) if not each.result()]
        tally.emit()
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}

    def _guarded(self, record: SQSRecord, step: Callable[[], T]) -> T | bool:
        """Call `step`. If it raises an error, log that, and return False, so that SQS delivers the message again."""
        try:
            return step()
        except Exception as error:  # noqa: BLE001 # whatever the error is, the other records go on
            with suppress(Exception):  # a record so odd that it can't be logged
                about = {"request_id": dead_letters.request_id_in(record.body), "channel": self.channel}
                if isinstance(error, TableUnavailable | Unreadable):
                    logger.warning("the record could not be written", extra=about | {"error_code": str(error)})
                else:
                    unforeseen.log(error, message_id=record.message_id, **about)
        return False

    def _begin(self, record: SQSRecord, context: LambdaContext, tally: Tally) -> Attempt | bool:
        """Claim the delivery of a message. If there is nothing to send, returns whether SQS may delete the message."""
        channels = named_channels(record)
        if channels is not None and self.channel not in channels:
            # SNS needs up to 15 minutes to apply a new filter policy, and until then sends this queue every message.
            # The message is also in the queues of its own channels. If it is not, the reconciler publishes it again.
            # https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
            request_id = dead_letters.request_id_in(record.body)
            logger.warning("not sent: it is for other channels", request_id=request_id, channel=self.channel)
            tally.add(Metric.MISROUTED, channel=self.channel)
            return True
        try:
            message = _read(record.body, self.channel)
        except PermanentFailure as error:
            # The reconciler will find the message in the dead-letter queue. If the request's id can be read, the
            # reconciler marks the request as failed.
            logger.error("a message can't be parsed", message_id=record.message_id, error_code=error.code)
            self._dead_letter(record, error.code)
            tally.failed(self.channel, None)
            return True
        attempt = Attempt(
            self.requests,
            message,
            self.channel,
            self.retry,
            self.clock,
            remaining_ms=context.get_remaining_time_in_millis(),
            place=self.place(message.request.topic),
            record=record,
        )
        if refused := attempt.begin():
            return self._refused(refused, attempt)
        claim, request = attempt.claim, attempt.request
        if claim.exhausted or claim.number > self.retry.attempts:
            # The last allowed attempt died, or `retry_attempts` has been lowered meanwhile.
            return self._end(attempt, EXHAUSTED, tally)
        if claim.doubts:
            logger.warning("an earlier attempt may have sent this", request_id=request.id, channel=self.channel)
        try:
            outgoing = outgoing_of(request, attempt.delivery)
        except Exception as error:  # noqa: BLE001 # whatever the error is, record it, and let another attempt follow
            unforeseen.log(error, request_id=request.id, channel=self.channel)
            return self._end(attempt, UNEXPECTED, tally)
        ttl = attempt.stored.record.ttl
        attempt.outgoing = replace(outgoing, doubts=claim.doubts, refused_in_batch=claim.alone, ttl=ttl)
        return attempt

    def _refused(self, refused: Refused, attempt: Attempt) -> bool:
        """Log why nothing is sent. Returns whether SQS may delete the message."""
        about = {"request_id": attempt.request.id, "channel": self.channel}
        if refused is Refused.BUSY:
            receives = receive_count(attempt.record)
            self._hide(attempt.record, decisions.delay_if_busy(self.retry, receives=receives, jitter=self.jitter))
            logger.info(f"not yet: {refused}", extra=about)
            return False
        level = logger.warning if refused is Refused.UNKNOWN else logger.info
        level(f"not sent: {refused}", extra=about | {"reason": refused.name.lower()})
        return True

    def _end(self, attempt: Attempt, outcome: SendResult, tally: Tally) -> bool:
        """Record how the attempt ended. Returns whether SQS may delete the message: not if another attempt follows."""
        request, record, channel = attempt.request, attempt.record, self.channel
        about = {"request_id": request.id, "channel": channel}
        if outcome is not EXHAUSTED and not isinstance(outcome, RateLimited | RefusedInBatch):
            tally.add(Metric.ATTEMPTS, channel=channel, topic=request.topic)
        now = epoch_ms(self.clock())
        decision = decide(
            outcome,
            attempt.claim,
            self.retry,
            waited=timedelta(milliseconds=now - (attempt.delivery.put_off_since or now)),
            receives=receive_count(record),
            sends_batches=isinstance(self.send, BatchSend),
            jitter=self.jitter,
        )
        if isinstance(decision, GaveUp):
            self._dead_letter(record, decision.code)
        attempt.end(decision)
        match decision:
            case Sent():
                logger.info("delivered", extra=about | {"attempts": attempt.claim.number})
                tally.add(Metric.DELIVERED, channel=channel, topic=request.topic)
                if attempt.delivery.kind not in {Kind.RESEND, Kind.ESCALATION}:
                    took = epoch_ms(self.clock()) - ms_of(request.created_at)
                    tally.add(Metric.ACCEPTED_TO_DELIVERED, max(took, 0), channel=channel, topic=request.topic)
            case GaveUp(code):
                logger.error("gave up", extra=about | {"error_code": code})
                tally.failed(channel, request.topic)
            case _:
                self._hide(record, decision.delay)
                word = "will retry" if isinstance(decision, RetryLater) else "put off"
                logger.warning(word, extra=about | {"error_code": decision.code})
                return False
        return True

    def _dead_letter(self, record: SQSRecord, code: str) -> None:
        """Put the message into the dead-letter queue, with the error code. Only after that may it be acknowledged."""
        sqs, url, message_id = self.sqs, self.dlq_url, record.message_id
        dead_letters.write(sqs, url, record.body, code=code, channel=self.channel, source_message_id=message_id)

    def _hide(self, record: SQSRecord, delay: int) -> None:
        """Hide the message in its queue for `delay` seconds, until the next attempt is due."""
        try:
            self.sqs.change_message_visibility(
                QueueUrl=self.queue_url,
                ReceiptHandle=record.receipt_handle,
                VisibilityTimeout=delay,
            )
        except AWS_ERRORS as error:
            # The message then becomes visible after the queue's own visibility timeout.
            logger.warning("the back-off could not be set", error_code=error_code(error))


def _read(body: str, destination: Destination) -> Message:
    """The message in this body. Raises `PermanentFailure` if it is damaged, too new, or not for this destination."""
    try:
        message = Message.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        later = any(detail["loc"] == ("version",) for detail in details)
        raise PermanentFailure("unknown_version" if later else "malformed_message") from None
    is_callback = bool(message.ended_at) or (message.delivery or "").startswith(CALLBACK)
    if is_callback is not (destination is CALLBACK):
        raise PermanentFailure("malformed_message")
    return message
