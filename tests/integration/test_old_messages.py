"""An upgrade meets what the version before it has left in the stream, in the queues and in the table."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer

from assistance.items import plain
from assistance.models import Message
from assistance.routing import CALLBACK, Channel, Lane
from assistance.schema import OUTBOX_SHARD, PARTITION_KEY, REQUEST, SORT_KEY
from local.slack_server import SlackServer
from reconciler import handler as reconciler
from reconciler.balance import balance_of
from tests.integration.cloud import SIGNING_SECRET, Cloud
from tests.integration.steps import emails, fail_on_slack
from tests.receiver import Receiver

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
VERSIONS = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())

SETTLED = timedelta(minutes=2)


def files(kind: str) -> pytest.MarkDecorator:
    paths = sorted(CORPUS.glob(f"*/{kind}.json"))
    assert {path.relative_to(CORPUS).parts[0] for path in paths} == set(VERSIONS)
    return pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(CORPUS))) for p in paths])


def read(path: Path) -> Any:  # noqa: ANN401
    return json.loads(path.read_text("utf-8"))


def bring(stack: Cloud, channel: Lane, body: str) -> None:
    stack.sqs.send_message(QueueUrl=stack.queues[channel], MessageBody=body)


def deliver(stack: Cloud) -> None:
    for channel in Channel:
        stack.consume_until_quiet(channel)


def sent(slack: SlackServer) -> int:
    return len(slack.messages) + len(emails())


@files("stream/*")
def test_an_old_stream_record_is_published_to_its_channels(stack: Cloud, slack: SlackServer, path: Path) -> None:
    record = read(path)
    item = plain(record["dynamodb"]["NewImage"])
    stack.table.put_item(Item=item)
    assert stack.produce([record]) == []
    assert OUTBOX_SHARD not in stack.table.get_item(Key={k: item[k] for k in (PARTITION_KEY, SORT_KEY)})["Item"]
    deliver(stack)
    assert stack.status(item[PARTITION_KEY]) == "delivered"
    assert {d["channel"] for d in stack.show(item[PARTITION_KEY])["deliveries"]} == set(item["outbox_channels"])
    assert sent(slack) == 1


@files("messages/*")
def test_an_old_message_is_delivered_once(stack: Cloud, slack: SlackServer, path: Path) -> None:
    old = read(path)
    for _ in range(2):
        bring(stack, Channel(old["channel"]), old["body"])
        deliver(stack)
    assert sent(slack) == 1
    assert not stack.dead_letters(Channel(old["channel"]))


@files("callbacks/*")
def test_an_old_end_is_told_of_under_one_id(stack: Cloud, path: Path) -> None:
    old = read(path)
    with Receiver() as bot:
        for item in map(plain, old["items"]):
            callback = {"callback_url": bot.url} if item[SORT_KEY] == REQUEST else {}
            stack.table.put_item(Item={**item, **callback})
        assert stack.produce([old["record"]]) == []
        bring(stack, CALLBACK, old["body"])
        while records := stack.receive(CALLBACK):
            # One at a time: moto's conditional writes are not atomic.
            stack.consume(CALLBACK, records[:1])
            stack.consume(CALLBACK, records[1:])
        # One brought by an old message and by a new one may be told of twice.
        [_] = {call.id for call in bot.calls}
        call = bot.calls[0]
    assert call.verified(SIGNING_SECRET)["type"] == "assistance_request.delivered"
    assert not stack.dead_letters(CALLBACK)


@files("items/*")
def test_an_old_request_reads_as_it_did_and_is_still_sent_once(stack: Cloud, slack: SlackServer, path: Path) -> None:
    old = read(path)
    items = [plain(item) for item in old["items"]]
    for item in items:
        stack.table.put_item(Item=item)
    (request,) = (item for item in items if item[SORT_KEY] == REQUEST)
    assert stack.status(request[PARTITION_KEY]) == old["status"]
    if OUTBOX_SHARD not in request:
        names = {"id": PARTITION_KEY, "topic": "topic", "description": "description", "created_at": "created_at"}
        body = {"version": 1, "request": {member: request[name] for member, name in names.items()}}
        bring(stack, Channel(request["channels"][0]), json.dumps(body))
    stack.reconcile()
    deliver(stack)
    assert stack.status(request[PARTITION_KEY]) == "delivered"
    assert sent(slack) == (old["status"] != "delivered")


@files("ledger")
def test_an_old_ledger_still_balances(stack: Cloud, path: Path) -> None:
    old = {name: TypeDeserializer().deserialize(value) for name, value in read(path).items()}
    stack.table.put_item(Item=old)
    stack.reconcile()
    balance = balance_of(reconciler.requests())
    assert balance.accepted == old["accepted"]
    # None of them is in this table.
    assert balance.ended["forgotten"] == len(old["open"])
    assert sum(balance.accepted.values()) == sum(balance.ended.values()) + len(balance.open)


def newest(kind: str) -> Iterator[Any]:
    return (read(path) for path in CORPUS.glob(f"{VERSIONS[-1]}/{kind}/*.json"))


def test_what_is_written_today_is_kept_for_the_versions_to_come(stack: Cloud, slack: SlackServer) -> None:
    bodies = [old["body"] for kind in ("messages", "callbacks") for old in newest(kind)]
    members = {name for body in bodies for name in json.loads(body)}
    assert set(Message.model_fields) == members
    attributes = {name for old in newest("stream") for name in old["dynamodb"]["NewImage"]}
    fail_on_slack(stack, slack, "down")
    [record] = stack.stream_records()
    assert set(record["dynamodb"]["NewImage"]) <= attributes
    assert VERSIONS[-1] == f"v{Message.model_fields['version'].default}"


@pytest.mark.parametrize("shape", [{}, {"request": {"id": "ID"}}, {"requests": [{"text": "x"}]}])
def test_a_message_of_a_later_version_is_refused_by_that_name_and_kept_whole(
    stack: Cloud, slack: SlackServer, shape: dict[str, Any]
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    body = json.dumps(json.loads(record["body"]) | shape | {"version": 2}).replace('"ID"', f'"{request_id}"')
    assert stack.consume(Channel.SLACK, [{**record, "body": body}]) == []
    [letter] = stack.dead_letters(Channel.SLACK)
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "unknown_version"
    assert letter["Body"] == body
    assert not slack.messages


def test_a_request_whose_message_is_of_a_later_version_comes_by_its_fallback(stack: Cloud, slack: SlackServer) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    stack.consume(Channel.SLACK, [{**record, "body": record["body"].replace('"version":1', '"version":2')}])
    stack.reconcile(later=SETTLED)
    assert stack.status(request_id) == "failed"
    stack.reconcile(later=2 * SETTLED)
    deliver(stack)
    assert stack.status(request_id) == "delivered"
    assert (len(slack.messages), len(emails())) == (0, 1)
