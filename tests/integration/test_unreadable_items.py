"""Tests arbitrary items in the table: a function that can't parse an item reports it and processes the next one."""

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import boto3
import pytest

from api.handler import _details as details
from assistance.domain import transitions
from assistance.domain.record import Status
from assistance.engine.outbox import outboxed
from assistance.errors import Unreadable
from assistance.models import AssistanceRequest
from assistance.platform.clock import ms_of, timestamp, utc_now
from assistance.routing import CALLBACK, Channel
from assistance.store import codec, legacy, mirror
from assistance.store.requests import Requests, fresh, request_key
from assistance.store.schema import (
    CREATED_AT,
    DUE_AT,
    DUE_SHARD,
    LEDGER_SHARD,
    OUTBOX_SHARD,
    PARTITION_KEY,
    REQUEST,
    SORT_KEY,
)
from assistance.store.table import PROGRESS_KEY, Items
from cli.requests import search
from tests.integration.cloud import Cloud
from tests.integration.steps import example, sns_event
from tests.logged_metrics import emitted
from tests.receiver import Receiver
from tests.records import ROUTE

Item = dict[str, Any]

SETTLED = timedelta(minutes=2)
GONE = object()
# Of every type that DynamoDB has: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
VALUES = [
    *("", "x", "LEDGER", "slack", "sending", "9999-99-99T99:99:99.999Z", "2" * 500),
    *(-1, 10**37, Decimal("0.5"), True, None, b"\x00"),
    *([], ["x"], [{"at": "x"}], {}, {"x": []}),
    *({"x"}, {1}, {b"\x00"}),
    GONE,
]


def request(request_id: str, **more: Any) -> Item:  # noqa: ANN401
    created_at = timestamp(utc_now())
    return {
        **request_key(request_id),
        "topic": "sales",
        "description": "help",
        "created_at": created_at,
        "callback_url": "http://127.0.0.1:1/hook",
        "payload_hash": "hash",
        "ttl": int(utc_now().timestamp()) + 86_400,
        "channels": ["slack"],
        "ledger": 7,
        **more,
    }


def v1_unpublished(request_id: str) -> list[Item]:
    fallback = {"channel": "email", "failed_channel": "slack", "error": "is_archived"}
    trace = "Root=1-6925f5a0-000000000000000000000001;Parent=53995c3f42cd8ad8;Sampled=1"
    since = timestamp(utc_now())
    again = {"outbox": 7, "outbox_channels": ["slack"], "outbox_since": since, "fallback": fallback, "trace": trace}
    return [request(request_id, **again)]


def delivery(request_id: str, channel: Channel, status: Status) -> Item:
    at = timestamp(utc_now())
    return {
        PARTITION_KEY: request_id,
        SORT_KEY: f"{mirror.DELIVERY_PREFIX}{channel}",
        "status": status,
        "attempts": 1,
        "attempts_given_up": 0,
        "timeline": [{"at": at, "outcome": "retrying", "error": "http_503", "in_doubt": True}],
        "last_error": "http_503",
        "next_attempt_at": at,
        "claim_expires_at": 1,
        "delivered_at": at,
        "confirmed_at": at,
        "failed_at": at,
        "result": '"the-mail"',
        "in_doubt": True,
        "not_before": 1,
        "forced": {"act"},
        "forced_in_doubt": {"act"},
        "refused_together": True,
        "ttl": int(utc_now().timestamp()) + 86_400,
    }


def v1_tried(request_id: str) -> list[Item]:
    at = timestamp(utc_now())
    return [delivery(request_id, Channel.SLACK, Status.RETRYING), request(request_id, published_at=at)]


def v1_ended(request_id: str) -> list[Item]:
    """A delivered request of version 1 with an outbox entry for its callback."""
    at = timestamp(utc_now())
    entry = {"outbox": 7, "outbox_channels": ["callback"], "outbox_since": at, "created_at": at, "topic": "sales"}
    return [delivery(request_id, Channel.SLACK, Status.DELIVERED) | entry, request(request_id, published_at=at)]


def reopened(request_id: str) -> list[Item]:
    at = timestamp(utc_now())
    return [
        {
            PARTITION_KEY: "LEDGER",
            SORT_KEY: f"{legacy.REOPENED_PREFIX}{request_id}",
            "reopened_at": at,
            "ttl": int(utc_now().timestamp()) + 86_400,
        },
        request(request_id, published_at=at),
    ]


def accepted(request_id: str) -> list[Item]:
    """A published request whose message is in its queue."""
    return [request(request_id, published_at=timestamp(utc_now()), fallback_channel="email")]


def unpublished(request_id: str) -> list[Item]:
    return [request(request_id, outbox=7, outbox_channels=["slack"], fallback_channel="email", caller="bot")]


def recorded(request_id: str) -> list[Item]:
    """A record that the reconciler tracks, with outbox entries and each kind of delivery, except an escalation."""
    item = request(request_id, published_at=timestamp(utc_now()), fallback_channel="email")
    names = ("topic", "description", "created_at", "callback_url")
    one = AssistanceRequest(id=request_id, **{name: item[name] for name in names})
    now = ms_of(one.created_at)
    record = transitions.watch(fresh(one, ROUTE, item["ttl"]))
    record, _ = transitions.claim(record, "slack", "first", now=now, until=now, limit=3)
    record = transitions.gave_up(record, "slack", "first", "down", now=now, in_doubt=True, settles=now)
    record, _ = transitions.claim(record, "fallback", "second", now=now, until=now, limit=3)
    record = transitions.sent(record, "fallback", "second", "the-mail", now=now)
    again = transitions.resend(record, "resend-act", "slack", now=now)
    assert again
    return [codec.item_of(request_id, replace(again, version=1), {}), item]


SOME: list[Any] = ["x", b"\x00", [], GONE]
"""The wrong values with which tests run the functions. Other tests read items with all of `VALUES`."""
KINDS = {
    each.__name__: each for each in (accepted, unpublished, recorded, v1_unpublished, v1_tried, v1_ended, reopened)
}
every_kind = pytest.mark.parametrize("kind", KINDS)


Path = tuple[str | int, ...]


def paths(item: Item) -> Iterator[Path]:
    """Return the paths that a test damages: each attribute, and each member of a record."""
    for name in item:
        yield (name,)
    yield from (("record", *path) for path in members(item.get("record")))


def members(document: Any) -> Iterator[Path]:  # noqa: ANN401
    parts = (
        document.items() if isinstance(document, dict) else enumerate(document if isinstance(document, list) else ())
    )
    for name, part in parts:
        yield (name,)
        yield from ((name, *path) for path in members(part))


def damaged(item: Item, path: Path, value: object) -> Item:
    """A copy of the item with the value, one of `VALUES`, at the path."""
    copy = deepcopy(item)
    part: Any = copy
    for name in path[:-1]:
        part = part[name]
    if value is not GONE:
        part[path[-1]] = value
    else:
        with suppress(KeyError):  # the item may lack the attribute
            del part[path[-1]]
    return copy


def is_storable(item: Item) -> bool:
    """Whether DynamoDB accepts the item: keys have the type that the table or index declares, and are not empty.

    Moto accepts more. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
    """
    keys = {
        PARTITION_KEY: str,
        SORT_KEY: str,
        CREATED_AT: str,
        OUTBOX_SHARD: int | Decimal,
        LEDGER_SHARD: int | Decimal,
        DUE_SHARD: int | Decimal,
        DUE_AT: int | Decimal,
    }
    given = {name: item[name] for name in keys if name in item}
    right = all(isinstance(value, keys[name]) and value is not True for name, value in given.items())
    return right and {PARTITION_KEY, SORT_KEY} <= given.keys() and "" not in given.values()


@dataclass
class Table:
    """The table with valid items, and with items of which one attribute each is damaged."""

    cloud: Cloud
    ids: list[str] = field(default_factory=list)
    """The ids of the requests with a damaged item."""

    def put(self, item: Item) -> None:
        if is_storable(item):
            self.cloud.table.put_item(Item=item)

    def damage(self, kind: str) -> None:
        """Add requests of that kind, a key of `KINDS`. In the first item of each, one attribute is damaged."""
        for path in paths(KINDS[kind](str(uuid4()))[0]):
            for value in SOME:
                self.ids.append(request_id := str(uuid4()))
                first, *others = KINDS[kind](request_id)
                for item in (damaged(first, path, value), *others):
                    self.put(item)


@pytest.fixture
def table(stack: Cloud) -> Table:
    return Table(stack)


def unaffected(stack: Cloud) -> tuple[str, str]:
    """Create a request that the stream producer misses, and one whose message is a dead letter. Returns their ids."""
    died = stack.post("sales")
    stack.produce()
    for record in stack.receive(Channel.SLACK):
        stack.sqs.send_message(QueueUrl=stack.dlqs[Channel.SLACK], MessageBody=record["body"])
        stack.sqs.delete_message(QueueUrl=stack.queues[Channel.SLACK], ReceiptHandle=record["receiptHandle"])
    missed = stack.post("sales")
    stack.stream_records()
    return missed, died


def unreadable(log: str) -> int:
    found = {series.name: values for series, values in emitted(log).items()}
    return int(sum(found["UnreadableItems"]))


@every_kind
def test_any_table_item_is_either_parsed_or_reported_as_unreadable(kind: str) -> None:
    first, *others = KINDS[kind](str(uuid4()))
    request_item = next((item for item in others if item[SORT_KEY] == REQUEST), first)
    reader = Requests(Items(None))  # type: ignore[arg-type] # it is given its items
    for path in paths(first):
        for item in (damaged(first, path, value) for value in VALUES):
            with suppress(Unreadable):
                outboxed({SORT_KEY: "", PARTITION_KEY: "", **item}, lambda _: request_item)
            with suppress(Unreadable):
                shown = reader.from_items([{SORT_KEY: "", **item}, *others])
                assert shown is None or json.dumps(details(shown))
                assert shown is None or shown.status is not Status.DELIVERED or shown.record.end


@every_kind
def test_the_reconciler_and_the_list_command_skip_unreadable_items(
    table: Table, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missed, died = unaffected(table.cloud)
    table.damage(kind)
    capsys.readouterr()
    met = 0
    for sweeps in (1, 2):
        answer = table.cloud.reconcile(later=sweeps * SETTLED)
        assert unreadable(capsys.readouterr().out) == answer["outbox"]["unreadable"] + answer["ledger"]["unreadable"]
        met += answer["ledger"]["unreadable"]
    assert bool(met) is (kind != "reopened"), "of an item of the old ledger only the key is read"
    assert table.cloud.status(missed) == "published"
    assert table.cloud.show(died)["deliveries"][0]["status"] == "failed"
    requests = Requests(Items(boto3.resource("dynamodb").Table("table")))
    now = utc_now()
    found = search(requests, since=now - SETTLED, before=now + SETTLED, statuses=frozenset(), limit=1_000)
    assert {missed, died} <= {record.request.id for record in found.records}
    assert bool(found.unreadable) is (kind != "reopened")


@pytest.mark.parametrize("until", [5, "9999-12-31T23:59:59.999Z"], ids=["no time", "a time to come"])
def test_the_reconciler_starts_anew_if_the_stored_time_of_its_last_check_is_invalid(
    stack: Cloud, capsys: pytest.CaptureFixture[str], until: object
) -> None:
    _, died = unaffected(stack)
    stack.reconcile(later=SETTLED)
    kept = stack.table.get_item(Key=PROGRESS_KEY)["Item"]
    capsys.readouterr()
    stack.table.put_item(Item=kept | {"looked_until": until})
    assert stack.reconcile(later=2 * SETTLED)["ledger"]["complete"]
    assert unreadable(capsys.readouterr().out) == 1
    assert stack.show(died)["deliveries"][0]["status"] == "failed"
    assert kept["looked_until"] < stack.table.get_item(Key=PROGRESS_KEY)["Item"]["looked_until"] < "9999"


@every_kind
def test_a_consumer_delivers_every_readable_request_of_a_batch_with_unreadable_items(table: Table, kind: str) -> None:
    stack = table.cloud
    good = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    table.damage(kind)
    for start in range(0, len(table.ids), 24):
        bodies = [
            json.dumps({"request": json.loads(record["body"])["request"] | {"id": request_id}})
            for request_id in table.ids[start : start + 24]
        ]
        others = [{**record, "messageId": str(number), "body": body} for number, body in enumerate(bodies)]
        assert record["messageId"] not in stack.consume(Channel.SLACK, [*others, record])
    assert stack.status(good) == "delivered"


@pytest.mark.parametrize("name", ["description", "channels"])
def test_the_api_answers_500_without_details_for_an_unreadable_request(stack: Cloud, name: str) -> None:
    request_id = stack.post("sales", Idempotency_Key="key")
    kept = stack.table.get_item(Key=request_key(request_id))["Item"]
    stack.table.put_item(Item=kept | {name: 5})
    answer = stack.call("GET", f"/assistance-requests/{request_id}")
    assert (answer["statusCode"], answer["json"]["type"]) == (500, "urn:assistance:problem:internal-error")
    body = json.dumps({"topic": "sales", "description": "help"})
    repeated = stack.call("POST", "/assistance-requests", body, Content_Type="application/json", Idempotency_Key="key")
    assert repeated["statusCode"] == (500 if name == "description" else 202)


@pytest.mark.parametrize("name", ["status", "result", "ttl", "description"])
def test_an_ses_event_about_an_unreadable_request_is_retried(stack: Cloud, name: str) -> None:
    request_id = str(uuid4())
    items = delivery(request_id, Channel.EMAIL, Status.DELIVERED), request(request_id, topic="pricing")
    for item in items:
        stack.table.put_item(Item=item | ({name: [5]} if name in item else {}))
    with pytest.raises(Unreadable):
        stack.handler("email_feedback")(sns_event(json.dumps(example("bounce", request_id, "the-mail"))), stack.context)
    assert not stack.dead_letters(Channel.EMAIL)


def test_callbacks_about_unreadable_requests_delay_no_other_callback_of_their_batch(table: Table) -> None:
    table.damage("v1_ended")
    stack = table.cloud
    end = {"ended_at": timestamp(utc_now()), "ended": "slack#delivered"}
    for number, request_id in enumerate(table.ids):
        about = {"id": request_id, "topic": "sales", "description": "", "created_at": timestamp(utc_now())}
        body = json.dumps({"request": about, **end})
        if number % 3 == 0:
            stack.sqs.send_message(QueueUrl=stack.queues[CALLBACK], MessageBody=body)
    with Receiver() as bot:
        readable = stack.post("sales", callback_url=bot.url)
        stack.produce()
        stack.consume_until_quiet(Channel.SLACK)
        stack.produce()
        records = stack.receive(CALLBACK)
        while more := stack.receive(CALLBACK):
            records += more
        assert len(records) > 1
        stack.consume(CALLBACK, records)
        assert [json.loads(call.body)["data"]["id"] for call in bot.calls] == [readable]
