"""Powertools' idempotency record of one delivery, kept in its delivery item.

So "sent" and "recorded as delivered" are one write and can't disagree. The item is claimed before a send and completed
after it:

    (none) | retrying | failed | sending with an expired claim  ──claim──▶  sending
    sending  ──sent──▶ delivered      ──transient──▶ retrying      ──gave up, message in the DLQ──▶ failed
    delivered  ──bounced, message in the DLQ──▶ failed
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from aws_lambda_powertools.utilities.idempotency import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord

from assistance.aws import AWS_ERRORS
from assistance.clock import Clock, epoch_ms, epoch_s, timestamp
from assistance.deliveries import (
    Condition,
    Failure,
    callback_entry,
    delivery_key,
    fail,
    forget_outlived,
)
from assistance.errors import (
    Deferred,
    DeliveryError,
    GaveUp,
    RefusedTogether,
    Superseded,
    TransientFailure,
)
from assistance.items import Item, outlived, plain, settled
from assistance.models import Message, Status
from assistance.observability import logger
from assistance.routing import Lane
from assistance.schema import TTL

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


@dataclass(slots=True)
class Claim:
    """What claiming the delivery has told about the attempt that it allows."""

    number: int = 1
    in_doubt: bool = False
    """An earlier attempt may have reached the provider."""
    settled: Status | None = None
    """What had been said of the delivery for good: a redrive, or a forced send."""
    index: int = 0
    """The attempt's place in the timeline."""
    refused_together: bool = False
    """It is not to be sent in one message with others again."""


class DeliveryItem(BasePersistenceLayer):
    """The record of one delivery."""

    def __init__(
        self,
        table: "Table",
        channel: Lane,
        message: Message,
        *,
        claim: timedelta,
        doubt_delay: timedelta,
        ttl: int,
        clock: Clock,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.claim = Claim()
        self._table = table
        self._channel = channel
        self._message = message
        self._key = delivery_key(message.request.id, channel, message.end)
        self._clock = clock
        # Longer than the attempt can last: what its last call has started may still reach the provider.
        self._claim_expires_at = epoch_ms(clock() + claim + doubt_delay)
        self._doubt_delay = doubt_delay
        self._ttl = ttl
        self._error: Exception | None = None

    def _get_record(self, idempotency_key: str) -> DataRecord:  # noqa: ARG002
        # Never asked for: a refused claim tells what it was refused for.
        raise IdempotencyItemNotFoundError

    def _put_record(self, data_record: DataRecord) -> None:
        """Claim the delivery, unless it is delivered, somebody's claim on it is live, or its doubt has not settled."""
        now, force = self._clock(), self._message.force
        entry: dict[str, Any] = {"at": timestamp(now)}
        values: dict[str, Any] = {
            ":sending": Status.SENDING,
            ":retrying": Status.RETRYING,
            ":failed": Status.FAILED,
            ":expires": self._claim_expires_at,
            ":now_ms": epoch_ms(now),
            ":ttl": self._ttl,
            ":one": 1,
            ":none": [],
            ":accepted": epoch_s(self._message.request.created_at),
        }
        doubt_settled = "(attribute_not_exists(not_before) OR not_before <= :now_ms)"
        free = (
            "attribute_not_exists(#status) OR (#status = :sending AND claim_expires_at <= :now_ms) "
            f"OR (#status IN (:retrying, :failed) AND {doubt_settled})"
        )
        # While a forced send is under way or waits, a duplicate of what was delivered before has nothing to do.
        condition = f"({free}) AND (attribute_not_exists(delivered_at) OR failed_at > delivered_at)"
        forced_set = ""
        if force:
            entry["forced"] = True
            values |= {":force": force, ":forces": {force}, ":delivered": Status.DELIVERED}
            forced_set = ", forced :forces"
            # Each decision to force counts once, also while another is carried out.
            condition = (
                f"(({free}) AND NOT (#status = :retrying AND contains(forced, :force))) "
                f"OR (#status = :delivered AND NOT contains(forced, :force) AND {doubt_settled})"
            )
        values[":entry"] = [entry]
        try:
            answer = self._table.update_item(
                Key=self._key,
                UpdateExpression=(
                    "SET #status = :sending, claim_expires_at = :expires, #ttl = :ttl, "
                    "timeline = list_append(if_not_exists(timeline, :none), :entry) "
                    f"REMOVE next_attempt_at ADD attempts :one{forced_set}"
                ),
                ConditionExpression=f"({condition}) AND (attribute_not_exists(#ttl) OR #ttl >= :accepted)",
                ExpressionAttributeNames={"#status": "status", "#ttl": TTL},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._table.meta.client.exceptions.ConditionalCheckFailedException as refused:
            item = plain(cast(Item, refused.response)["Item"])
            request = self._message.request
            if outlived(item, request.created_at) and forget_outlived(self._table, self._key, request):
                self._put_record(data_record)
                return
            existing = self._record(data_record.idempotency_key, item)
            raise IdempotencyItemAlreadyExistsError(old_data_record=existing) from refused
        before: Item = answer.get("Attributes", {})
        if not before:
            return
        done = settled(before)
        self.claim = Claim(
            number=int(before.get("attempts", 0)) + 1 - int(before.get("attempts_given_up", 0)),
            # Taking over an expired claim: its holder died, perhaps after the provider had accepted the message.
            in_doubt=before["status"] == Status.SENDING
            or bool(before.get("in_doubt", False))
            or force in before.get("forced_in_doubt", ()),
            settled=done,
            index=len(before.get("timeline", [])),
            refused_together=bool(before.get("refused_together", False)),
        )

    def _record(self, idempotency_key: str, item: Item) -> DataRecord:
        force = self._message.force
        carried_out = item["status"] == Status.DELIVERED and force in item.get("forced", ())
        if carried_out if force else settled(item) is Status.DELIVERED:
            return DataRecord(idempotency_key, status="COMPLETED")
        return DataRecord(idempotency_key, status="INPROGRESS")

    def _update_record(self, data_record: DataRecord) -> None:
        """It was sent: record it whatever else has happened, for nothing may send it again."""
        now = timestamp(self._clock())
        entered, entry_values = callback_entry(self._message.request, now)
        self._table.update_item(
            Key=self._key,
            UpdateExpression=(
                # A forced send starts with a fresh budget of attempts.
                "SET #status = :delivered, delivered_at = :now, #result = :result, attempts_given_up = attempts, "
                f"timeline[{self.claim.index}].outcome = :delivered{entered} "
                # What other attempts have left in doubt settles all the same.
                "REMOVE claim_expires_at, in_doubt, next_attempt_at, confirmed_at"
            ),
            ExpressionAttributeNames={"#status": "status", "#result": "result"},
            ExpressionAttributeValues={
                ":delivered": Status.DELIVERED,
                ":now": now,
                ":result": data_record.response_data,
                **entry_values,
            },
        )

    def tell_again(self) -> None:
        """Have the bot told of the delivery, if it wants to be. Raises a `TransientFailure`."""
        entered, values = callback_entry(self._message.request, timestamp(self._clock()))
        if not entered:
            return
        try:
            self._table.update_item(
                Key=self._key,
                UpdateExpression=f"SET {entered.removeprefix(', ')}",
                ConditionExpression="#status = :delivered",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={":delivered": Status.DELIVERED, **values},
            )
        except self._table.meta.client.exceptions.ConditionalCheckFailedException:
            logger.debug("the delivery has changed meanwhile", request_id=self._message.request.id)
        except AWS_ERRORS as error:
            raise TransientFailure("table_unavailable") from error

    def delete_record(self, data: dict[str, Any], exception: Exception) -> None:
        """Powertools' hook for a send that raised: keep the error, then let go of the claim."""
        self._error = exception
        super().delete_record(data, exception)

    def _delete_record(self, data_record: DataRecord) -> None:  # noqa: ARG002
        """Let go of the claim and say why, unless somebody has taken it over."""
        match self._error:
            case GaveUp() as error if self.claim.settled is not Status.DELIVERED:
                held = self._fail(error)
            case Superseded() | Deferred():
                held = self._undo()
            case _:
                held = self._retry_later()
        if not held:
            logger.warning("the claim had already passed to another attempt", request_id=self._message.request.id)

    def _mine(self) -> Condition:
        return Condition(
            "#status = :sending AND claim_expires_at = :mine",
            {"#status": "status"},
            {":sending": Status.SENDING, ":mine": self._claim_expires_at},
        )

    def _fail(self, error: GaveUp) -> bool:
        request, in_doubt = self._message.request, self.claim.in_doubt or error.in_doubt
        failure = Failure(
            request=request,
            channel=self._channel,
            code=error.code,
            in_doubt=in_doubt,
            attempt_in_doubt=error.in_doubt,
            at=timestamp(self._clock()),
            ttl=self._ttl,
            not_before=epoch_ms(self._clock() + self._doubt_delay) if in_doubt else None,
            end=self._message.end,
            had_ended=self.claim.settled,
        )
        return fail(self._table, failure, self._mine(), entry=f"timeline[{self.claim.index}]")

    def _undo(self) -> bool:
        """Nothing was tried: the item is as before the claim, but for the time of the next attempt."""
        error, status = self._error, self.claim.settled
        if status is None and not (isinstance(error, Deferred) or self.claim.in_doubt):
            # Another channel has delivered what this one does not have.
            return self._write("", delete=True, names={}, values={})
        sets, values = ["#status = :status", "in_doubt = :doubt"], dict[str, Any]({":doubt": self.claim.in_doubt})
        if isinstance(error, Deferred):
            sets.append("last_error = :error")
            values[":error"] = error.code
            if isinstance(error, RefusedTogether):
                sets.append("refused_together = :refused_together")
                values[":refused_together"] = True
            self._plan(error, sets, values)
        if status is None or isinstance(error, Deferred):
            status = Status.RETRYING
        values |= {":status": status, ":uncount": -1}
        update = f"SET {', '.join(sets)} REMOVE claim_expires_at, timeline[{self.claim.index}] ADD attempts :uncount"
        if self._message.force:
            update += ", forced_in_doubt :forces" * self.claim.in_doubt + self._not_carried_out(values)
        return self._write(update, names={}, values=values)

    def _retry_later(self) -> bool:
        error, entry = self._error, f"timeline[{self.claim.index}]"
        doubt = self.claim.in_doubt or _leaves_doubt(error)
        code = error.code if isinstance(error, DeliveryError) else "unexpected_error"
        # A forced send that was given up takes nothing back.
        status = self.claim.settled if isinstance(error, GaveUp) and self.claim.settled else Status.RETRYING
        outcome = Status.FAILED if isinstance(error, GaveUp) else Status.RETRYING
        sets = ["#status = :status", "last_error = :error", "in_doubt = :doubt"]
        sets += [f"{entry}.outcome = :outcome", f"{entry}.#error = :error", f"{entry}.in_doubt = :now_in_doubt"]
        values: dict[str, Any] = {
            ":status": status, ":error": code, ":doubt": doubt, ":outcome": outcome,
            ":now_in_doubt": _leaves_doubt(error),
        }  # fmt: skip
        self._plan(error, sets, values)
        if doubt:
            sets.append("not_before = :not_before")
            values[":not_before"] = epoch_ms(self._clock() + self._doubt_delay)
        update = f"SET {', '.join(sets)} REMOVE claim_expires_at"
        if isinstance(error, GaveUp) and self._message.force:
            # A redrive carries the decision out after all, with all its attempts.
            update = update.replace(" REMOVE", ", attempts_given_up = attempts REMOVE")
        if self._message.force:
            update += self._not_carried_out(values)
            if doubt:
                # Another decision that is carried out meanwhile says nothing about this one.
                update += " ADD forced_in_doubt :forces"
        return self._write(update, names={"#error": "error"}, values=values)

    def _not_carried_out(self, values: dict[str, Any]) -> str:
        """Another decision may be carried out before this one comes again, and is not to be taken for it."""
        values[":forces"] = {self._message.force}
        return " DELETE forced :forces"

    def _plan(self, error: Exception | None, sets: list[str], values: dict[str, Any]) -> None:
        if isinstance(error, TransientFailure) and error.retry_after is not None:
            sets.append("next_attempt_at = :next")
            values[":next"] = timestamp(self._clock() + timedelta(seconds=error.retry_after))

    def _write(self, update: str, *, names: dict[str, str], values: dict[str, Any], delete: bool = False) -> bool:
        mine = self._mine()
        condition: Any = {
            "ConditionExpression": mine.expression,
            "ExpressionAttributeNames": {**mine.names, **names},
            "ExpressionAttributeValues": {**mine.values, **values},
        }
        try:
            if delete:
                self._table.delete_item(Key=self._key, **condition)
            else:
                self._table.update_item(Key=self._key, UpdateExpression=update, **condition)
        except self._table.meta.client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _leaves_doubt(error: Exception | None) -> bool:
    """Whether the provider may have taken the message all the same. An error we can't name may hide that it did."""
    if isinstance(error, TransientFailure | GaveUp):
        return error.in_doubt
    return not isinstance(error, DeliveryError)
