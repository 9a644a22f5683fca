"""The delivery engine: everything that a consumer does, except the sending itself."""

import random
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyPersistenceLayerError,
)
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import ValidationError

from assistance.domain.record import Kind
from assistance.domain.transitions import Refused
from assistance.engine import dead_letters, decisions
from assistance.engine.attempt import Attempt
from assistance.engine.batch_sending import Batch, BatchSend, Send, Sending, send_alone
from assistance.engine.decisions import EXHAUSTED, UNEXPECTED, Decision, GaveUp, RetryLater, SendResult, Sent, decide
from assistance.errors import PermanentFailure, RateLimited, RefusedInBatch, TableUnavailable, Unreadable
from assistance.models import Message, Outgoing
from assistance.platform import unforeseen
from assistance.platform.aws import AWS_ERRORS, SQSClient, error_code
from assistance.platform.clock import Clock, epoch_ms, ms_of, utc_now
from assistance.platform.kept_threads import KeptThreads
from assistance.platform.metrics import Metric, Tally
from assistance.platform.observability import logger
from assistance.platform.sqs_attributes import named_channels, receive_count
from assistance.routing import CALLBACK, Destination, RetryPolicy
from assistance.store.requests import Requests

# More threads than a batch needs, since its tasks wait for each other. Lambda allows 1,024:
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_MANY: Final = 1_000


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
    pool: Callable[[int], Executor] = KeptThreads

    def handle(self, event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        """Process a batch from SQS, each record in a thread. Returns the records that SQS must deliver again."""
        tally = Tally()
        records = [SQSRecord(record) for record in event["Records"]]
        with self.pool(_MANY) as pool:
            send = self.send
            # Each record of the batch enters the context, which yields the function by which it sends.
            sending = (
                Batch(len(records), send, pool).record
                if isinstance(send, BatchSend)
                else lambda: nullcontext(partial(send_alone, send))
            )

            def is_done(record: SQSRecord) -> bool:
                try:
                    with sending() as send_it:
                        return self.process(record, context, tally, send_it)
                except Exception as error:  # noqa: BLE001 # whatever the error is, the other records go on
                    with suppress(Exception):  # a record so odd that it can't be logged
                        about = {"request_id": dead_letters.request_id_in(record.body), "channel": self.channel}
                        unforeseen.log(error, message_id=record.message_id, **about)
                    return False

            done = [pool.submit(is_done, record) for record in records]
        # Only now: a thread that waits for one record after the other is woken for each, which costs processor time.
        again = [record.message_id for record, each in zip(records, done, strict=True) if not each.result()]
        tally.emit()
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in again]}

    def process(self, record: SQSRecord, context: LambdaContext, tally: Tally, send: Sending) -> bool:
        """Deliver one message. Returns whether it may be acknowledged: if not, SQS must deliver it again."""
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
        about = {"request_id": message.request.id, "channel": self.channel}
        attempt = Attempt(
            self.requests,
            message,
            self.channel,
            self.retry,
            self.clock,
            remaining_ms=context.get_remaining_time_in_millis(),
            place=self.place(message.request.topic),
            again=receive_count(record) > 1,
        )

        def claimed(*, request_id: str) -> Decision:  # noqa: ARG001 # Powertools computes the idempotency key from it
            return self._send(attempt, record, tally, send)

        once = idempotent_function(
            claimed,
            data_keyword_argument="request_id",
            persistence_store=attempt,
            config=IdempotencyConfig(lambda_context=context),
            key_prefix=self.channel,
        )
        try:
            decision: Decision | None = once(request_id=message.request.id)
        except IdempotencyAlreadyInProgressError:
            receives = receive_count(record)
            self._hide(record, decisions.delay_if_busy(self.retry, receives=receives, jitter=self.jitter))
            logger.info(f"not yet: {Refused.BUSY}", extra=about)
            return False
        except IdempotencyPersistenceLayerError as error:
            cause = error.__cause__
            if isinstance(cause, TableUnavailable | Unreadable):
                logger.warning("the record could not be written", extra=about | {"error_code": str(cause)})
            else:
                unforeseen.log(cause or error, **about)
            return False
        return self._conclude(decision, attempt, record, tally)

    def _send(self, attempt: Attempt, record: SQSRecord, tally: Tally, send: Sending) -> Decision:
        """Send, and return what to record. If that is `GaveUp`, the message is in the dead-letter queue already."""
        claim = attempt.claim
        # No attempt is left if the last allowed one died, or if `retry_attempts` has been lowered meanwhile.
        is_exhausted = claim.exhausted or claim.number > self.retry.attempts
        outcome = EXHAUSTED if is_exhausted else self._outcome(attempt, send)
        if not (is_exhausted or isinstance(outcome, RateLimited | RefusedInBatch)):
            tally.add(Metric.ATTEMPTS, channel=self.channel, topic=attempt.request.topic)
        now = epoch_ms(self.clock())
        decision = decide(
            outcome,
            claim,
            self.retry,
            waited=timedelta(milliseconds=now - (attempt.delivery.limited_since or now)),
            receives=receive_count(record),
            sends_batches=isinstance(self.send, BatchSend),
            jitter=self.jitter,
        )
        if isinstance(decision, GaveUp):
            self._dead_letter(record, decision.code)
        return decision

    def _outcome(self, attempt: Attempt, send: Sending) -> SendResult:
        request, claim, record = attempt.request, attempt.claim, attempt.stored.record
        try:
            if claim.doubts:
                logger.warning("an earlier attempt may have sent this", request_id=request.id, channel=self.channel)
            return send(Outgoing(request, attempt.delivery, record.ttl, claim.doubts, record.taken))
        except Exception as error:  # noqa: BLE001 # whatever the error is, record it, and let another attempt follow
            unforeseen.log(error, request_id=request.id, channel=self.channel)
            return UNEXPECTED

    def _conclude(self, decision: Decision | None, attempt: Attempt, record: SQSRecord, tally: Tally) -> bool:
        """Emit metrics and logs of a decision, or (None) of a refused claim. Returns False if an attempt follows."""
        request, channel = attempt.request, self.channel
        about = {"request_id": request.id, "channel": channel}
        match decision:
            case None:
                refused = attempt.refused or Refused.UNKNOWN
                level = logger.warning if refused is Refused.UNKNOWN else logger.info
                level(f"not sent: {refused}", extra=about | {"reason": refused.name.lower()})
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
    if is_callback is not (destination == CALLBACK):
        raise PermanentFailure("malformed_message")
    return message
