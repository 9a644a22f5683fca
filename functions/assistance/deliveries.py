"""The keys of a request's items, and how a delivery fails for good."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from assistance.clock import epoch_s
from assistance.models import AssistanceRequest, Fallback, Status
from assistance.observability import logger
from assistance.routing import CALLBACK, Channel, Lane, routes
from assistance.schema import (
    CALLBACK_PREFIX,
    CHANNELS,
    CREATED_AT,
    DELIVERY_PREFIX,
    LEDGER,
    OUTBOX_SHARD,
    PARTITION_KEY,
    REOPENED_PREFIX,
    REQUEST,
    SORT_KEY,
    TOPIC,
    TTL,
    shard,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


def request_key(request_id: str) -> dict[str, str]:
    """The key of a request item."""
    return {PARTITION_KEY: request_id, SORT_KEY: REQUEST}


def delivery_key(request_id: str, channel: Lane, end: str | None = None) -> dict[str, str]:
    """The key of a delivery item: one for each channel, and one for each end that there is a callback about."""
    name = f"{DELIVERY_PREFIX}{channel}" if end is None else f"{CALLBACK_PREFIX}{end}"
    return {PARTITION_KEY: request_id, SORT_KEY: name}


def reopened_key(request_id: str) -> dict[str, str]:
    """The key of the item that has the ledger look at a request again."""
    return {PARTITION_KEY: LEDGER, SORT_KEY: f"{REOPENED_PREFIX}{request_id}"}


def expiry(created_at: str, retention: timedelta) -> int:
    """The `ttl` of everything about a request: when DynamoDB may forget it, in seconds since 1970."""
    return int((datetime.fromisoformat(created_at) + retention).timestamp())


def forget_outlived(table: "Table", key: dict[str, str], request: AssistanceRequest) -> bool:
    """Delete what an earlier request of that id has left: `items.outlived`. Returns whether it has left something.

    Raises what boto3 raises.
    """
    try:
        table.delete_item(
            Key=key,
            ConditionExpression="#ttl < :accepted",
            ExpressionAttributeNames={"#ttl": TTL},
            ExpressionAttributeValues={":accepted": epoch_s(request.created_at)},
        )
    except table.meta.client.exceptions.ConditionalCheckFailedException:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Failure:
    """A delivery that has failed for good. `in_doubt`: the provider may have it all the same."""

    request: AssistanceRequest
    channel: Lane
    code: str
    in_doubt: bool
    at: str
    ttl: int
    """Of the delivery item, should there be none yet."""
    not_before: int | None = None
    """When what is in doubt has settled, in milliseconds since 1970: until then a redrive must wait."""
    attempt_in_doubt: bool = False
    """Whether it is the attempt in the timeline that may have arrived, rather than an earlier one."""
    end: str | None = None
    """Of a callback: which end it is about."""
    had_ended: Status | None = None
    """How it had ended before: then the ledger may look at the request no longer. If delivered it came back, and a
    fallback may have been let go meanwhile."""

    @property
    def fallback(self) -> Channel | None:
        """The channel to use instead. A fallback has none, nor has a callback, nor a topic that is no longer there.

        By today's route, also for what went to a channel that this no longer names.
        """
        route = routes().get(self.request.topic)
        return route.fallback if route and self.channel not in {route.fallback, CALLBACK} else None


@dataclass(frozen=True, slots=True)
class Condition:
    """A DynamoDB condition on the delivery item: what must still be true of it."""

    expression: str
    names: Mapping[str, str]
    values: Mapping[str, Any]


def fail(table: "Table", failure: Failure, condition: Condition, *, entry: str) -> bool:
    """Record the failure and put the request back into the outbox for its fallback, in one conditional write.

    `entry` names the place in the timeline that tells of it: `timeline[n]`, or `timeline` to append. Returns whether
    the condition held; where it did not, nothing is written. Raises what boto3 raises.
    """
    client = table.meta.client
    reopened = [_reopened(table.name, failure)] if failure.had_ended else []
    # A request that is gone, or whose fallback has ended, has nothing to fall back with: then only the failure, which
    # may be its end.
    ending = callback_entry(failure.request, failure.at)
    alone = [_failed_delivery(table.name, failure, condition, entry, ending)]
    if failure.had_ended is Status.DELIVERED:
        # It may still be on its way on another channel. What fails again has nothing new under way.
        alone += reopened
    writes = [alone]
    if failure.fallback:
        failed = _failed_delivery(table.name, failure, condition, entry, ("", {}))
        first, again = _re_entry(table.name, failure, failure.fallback)
        writes = [[failed, *first, *reopened], alone]
        if failure.had_ended is Status.DELIVERED:
            writes.insert(1, [failed, *again, *reopened])
    for operations in writes:
        try:
            client.transact_write_items(TransactItems=operations)  # type: ignore[arg-type]
        except client.exceptions.TransactionCanceledException as cancelled:
            mine, *others = [reason["Code"] for reason in cancelled.response["CancellationReasons"]]
            if mine == "ConditionalCheckFailed":
                return False
            if operations is alone or {mine, *others} - {"None", "ConditionalCheckFailed"}:
                raise
        else:
            return True
    return False


def callback_entry(request: AssistanceRequest, at: str) -> tuple[str, dict[str, Any]]:
    """What an update that ends a delivery sets besides, with its values, if the bot wants to be called back.

    The delivery item then is an outbox entry itself, so that no end is written without it, and none costs a call more.
    """
    if request.callback_url is None:
        return "", {}
    sets = {
        OUTBOX_SHARD: (":shard", shard(request.id)),
        "outbox_channels": (":callback", [CALLBACK]),
        "outbox_since": (":ended_at", at),
        CREATED_AT: (":created_at", request.created_at),
        TOPIC: (":topic", request.topic),
    }
    return "".join(f", {name} = {key}" for name, (key, _) in sets.items()), dict(sets.values())


def confirm(table: "Table", request_id: str, channel: Channel, result: str, at: str) -> None:
    """Stamp a delivery with the time at which the provider's own delivery was confirmed, whatever its status.

    Only if `result` is still its result, and never with an earlier time than it has. Raises what boto3 raises.
    """
    client = table.meta.client
    try:
        client.update_item(
            TableName=table.name,
            Key=delivery_key(request_id, channel),
            UpdateExpression="SET confirmed_at = :at",
            ConditionExpression="#result = :result AND (attribute_not_exists(confirmed_at) OR confirmed_at < :at)",
            ExpressionAttributeNames={"#result": "result"},
            ExpressionAttributeValues={":at": at, ":result": result},
        )
    except client.exceptions.ConditionalCheckFailedException:
        logger.debug("confirmed already, or sent again", request_id=request_id)


def _failed_delivery(
    table_name: str, failure: Failure, condition: Condition, entry: str, callback: tuple[str, dict[str, Any]]
) -> dict[str, Any]:
    happened = {"at": failure.at, "outcome": Status.FAILED, "error": failure.code}
    values: dict[str, Any] = {
        ":failed": Status.FAILED,
        ":code": failure.code,
        ":at": failure.at,
        ":doubt": failure.in_doubt,
        ":zero": 0,
        ":ttl": failure.ttl,
        **condition.values,
    }
    if entry == "timeline":
        told = "timeline = list_append(if_not_exists(timeline, :none), :happened)"
        values |= {":none": [], ":happened": [happened]}
    else:
        told = f"{entry}.outcome = :failed, {entry}.#error = :code, {entry}.in_doubt = :attempt_in_doubt"
        values[":attempt_in_doubt"] = failure.attempt_in_doubt
    if failure.not_before is not None:
        told += ", not_before = :not_before"
        values[":not_before"] = failure.not_before
    told, values = told + callback[0], values | callback[1]
    names = {"#status": "status", "#ttl": TTL, **condition.names}
    if entry != "timeline":
        names["#error"] = "error"
    return {
        "Update": {
            "TableName": table_name,
            "Key": delivery_key(failure.request.id, failure.channel, failure.end),
            # A redriven message starts with a fresh budget of attempts.
            "UpdateExpression": (
                f"SET #status = :failed, last_error = :code, failed_at = :at, in_doubt = :doubt, "
                f"attempts = if_not_exists(attempts, :zero), attempts_given_up = if_not_exists(attempts, :zero), "
                f"#ttl = if_not_exists(#ttl, :ttl), {told} REMOVE claim_expires_at, next_attempt_at, delivered_at"
            ),
            "ConditionExpression": condition.expression,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
    }


def _re_entry(table_name: str, failure: Failure, channel: Channel) -> tuple[list[Any], list[Any]]:
    """What puts the request back into the outbox: for the first time, or again.

    Again if the fallback has not ended: it is let go when it finds the request delivered, by a forced send, say.
    If it was not let go its message comes twice, and one of them finds it delivered. What was sent by a channel that
    the request does not have leads nowhere else.
    """
    request_id = failure.request.id
    first: dict[str, Any] = {
        "TableName": table_name,
        "Key": request_key(request_id),
        "UpdateExpression": f"SET {OUTBOX_SHARD} = :shard, outbox_channels = :channels, outbox_since = :at, "
        "fallback = :fallback",
        # A channel of its own stands in for no other, whatever the route is now.
        "ConditionExpression": (
            f"attribute_not_exists(fallback) AND contains({CHANNELS}, :failed) AND NOT contains({CHANNELS}, :channel)"
        ),
        "ExpressionAttributeValues": {
            ":channel": channel,
            ":failed": failure.channel,
            ":shard": shard(request_id),
            ":channels": [channel],
            ":at": failure.at,
            ":fallback": Fallback(
                channel=channel, failed_channel=Channel(failure.channel), error=failure.code
            ).model_dump(mode="json"),
        },
    }
    again = first | {
        "ConditionExpression": f"fallback.#channel = :channel AND contains({CHANNELS}, :failed)",
        "ExpressionAttributeNames": {"#channel": "channel"},
    }
    not_ended = {
        "TableName": table_name,
        "Key": delivery_key(request_id, channel),
        "ConditionExpression": "attribute_not_exists(#status) OR #status IN (:sending, :retrying)",
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {":sending": Status.SENDING, ":retrying": Status.RETRYING},
    }
    return [{"Update": first}], [{"Update": again}, {"ConditionCheck": not_ended}]


def _reopened(table_name: str, failure: Failure) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": table_name,
            "Key": reopened_key(failure.request.id),
            "UpdateExpression": "SET reopened_at = :at, #ttl = :ttl",
            "ExpressionAttributeNames": {"#ttl": TTL},
            "ExpressionAttributeValues": {":at": failure.at, ":ttl": failure.ttl},
        }
    }
