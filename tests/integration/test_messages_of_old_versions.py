"""Tests an upgrade: messages, stream records and items of the previous versions are still processed."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from assistance.models import Message
from assistance.platform.clock import utc_now
from assistance.routing import CALLBACK, Channel, Destination
from assistance.store.items import plain
from assistance.store.requests import Requests
from assistance.store.schema import OUTBOX_SHARD, PARTITION_KEY, RECORD, REQUEST, SORT_KEY
from assistance.store.table import Items
from local.slack_server import SlackServer
from tests.integration.cloud import SIGNING_SECRET, Cloud
from tests.integration.steps import emails, fail_on_slack, feedback, mailed
from tests.receiver import Receiver
from tests.records import resend

CORPUS = Path(__file__).resolve().parent.parent / "corpus"
VERSIONS = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())

SETTLED = timedelta(minutes=2)


def files(kind: str) -> pytest.MarkDecorator:
    paths = sorted(CORPUS.glob(f"*/{kind}.json"))
    assert {path.relative_to(CORPUS).parts[0] for path in paths} == set(VERSIONS)
    return pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(CORPUS))) for p in paths])


def read(path: Path) -> Any:  # noqa: ANN401
    """A stored example from an old version, with each `ttl` in the future, so that its request has not expired."""
    return unexpired(json.loads(path.read_text("utf-8")))


def unexpired(document: Any) -> Any:  # noqa: ANN401
    later = int((utc_now() + timedelta(days=1)).timestamp())
    match document:
        case {"ttl": {"N": _}}:
            return {**unexpired({k: v for k, v in document.items() if k != "ttl"}), "ttl": {"N": str(later)}}
        case {"ttl": int()}:
            return {**document, "ttl": later}
        case {"body": str(body)}:
            others = {name: part for name, part in document.items() if name != "body"}
            return {**unexpired(others), "body": json.dumps(unexpired(json.loads(body)))}
        case dict():
            return {name: unexpired(part) for name, part in document.items()}
        case list():
            return [unexpired(part) for part in document]
    return document


def accepted(request: dict[str, Any]) -> dict[str, Any]:
    """The item of a request that version 1 accepted, made from a message about the request."""
    return {
        PARTITION_KEY: request["id"],
        SORT_KEY: REQUEST,
        **{name: request[name] for name in ("topic", "description", "created_at")},
        "channels": [{"sales": "slack", "pricing": "email"}[request["topic"]]],
        "ttl": int((utc_now() + timedelta(days=1)).timestamp()),
    }


def enqueue(stack: Cloud, channel: Destination, body: str) -> None:
    stack.sqs.send_message(QueueUrl=stack.queues[channel], MessageBody=body)


def deliver(stack: Cloud) -> None:
    for channel in Channel:
        stack.consume_until_quiet(channel)


def sent(slack: SlackServer) -> int:
    return len(slack.messages) + len(emails())


def items_of(request_id: str) -> list[dict[str, Any]]:
    """Return the items that an old version left in the table for the request."""
    found = [dict(plain(item)) for path in CORPUS.glob("*/items/*.json") for item in read(path)["items"]]
    return [item for item in found if item[PARTITION_KEY] == request_id]


def request_item_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """The request item of the request that the record item belongs to."""
    return next(each for each in items_of(item[PARTITION_KEY]) if each[SORT_KEY] == REQUEST)


def recorded(request_id: str, delivery: str) -> dict[str, Any]:
    """The item of the request's record as it was while the delivery still waited in the outbox."""
    records = [item for item in items_of(request_id) if item[SORT_KEY] == RECORD]
    waits = [
        item
        for item in records
        if {"delivery": delivery}.items() <= dict(item["record"].get("outbox", [{}])[0]).items()
    ]
    return waits[0]


@files("stream/*")
def test_a_stream_record_written_by_an_old_version_is_published_to_its_channels(
    stack: Cloud, slack: SlackServer, path: Path
) -> None:
    record = read(path)
    item = plain(record["dynamodb"]["NewImage"])
    stack.table.put_item(Item=item)
    if item[SORT_KEY] != REQUEST:
        stack.table.put_item(Item=request_item_of(item))
    assert stack.produce([record]) == []
    assert OUTBOX_SHARD not in stack.table.get_item(Key={k: item[k] for k in (PARTITION_KEY, SORT_KEY)})["Item"]
    deliver(stack)
    assert stack.status(item[PARTITION_KEY]) == "delivered"
    assert sent(slack) == 1
    assert not [destination for destination in Channel if stack.dead_letters(destination)]


@files("messages/*")
def test_a_message_of_an_old_version_is_delivered_once(stack: Cloud, slack: SlackServer, path: Path) -> None:
    old = read(path)
    request = json.loads(old["body"])["request"]
    stack.table.put_item(Item=accepted(request))
    if delivery := json.loads(old["body"]).get("delivery"):
        stack.table.put_item(Item=recorded(request["id"], delivery))
    for _ in range(2):
        enqueue(stack, Channel(old["channel"]), old["body"])
        deliver(stack)
    assert sent(slack) == 1
    assert not stack.dead_letters(Channel(old["channel"]))


@files("callbacks/*")
def test_a_callback_message_of_an_old_version_is_sent_with_the_same_webhook_id_each_time(
    stack: Cloud, path: Path
) -> None:
    old = read(path)
    with Receiver() as bot:
        for item in map(plain, old["items"]):
            callback = {"callback_url": bot.url} if item[SORT_KEY] == REQUEST else {}
            stack.table.put_item(Item={**item, **callback})
        assert stack.produce([old["record"]]) == []
        enqueue(stack, CALLBACK, old["body"])
        while records := stack.receive(CALLBACK):
            # One at a time: moto's conditional writes are not atomic.
            stack.consume(CALLBACK, records[:1])
            stack.consume(CALLBACK, records[1:])
        # A request with both an old and a new message may cause two callbacks.
        [_] = {call.id for call in bot.calls}
        call = bot.calls[0]
    assert call.verified(SIGNING_SECRET)["type"] == "assistance_request.delivered"
    assert not stack.dead_letters(CALLBACK)


@files("items/*")
def test_a_request_stored_by_an_old_version_keeps_its_status_and_is_sent_once(
    stack: Cloud, slack: SlackServer, path: Path
) -> None:
    old, requests = read(path), Requests(Items(stack.table))
    items = [plain(item) for item in old["items"]]
    for item in items:
        stack.table.put_item(Item=item)
    (request,) = (item for item in items if item[SORT_KEY] == REQUEST)
    request_id = request[PARTITION_KEY]
    assert stack.status(request_id) == old["status"]
    assert requests.several([request_id]) == [requests.get(request_id)]
    unpublished = any(OUTBOX_SHARD in item for item in items)
    if not unpublished:
        names = {"id": PARTITION_KEY, "topic": "topic", "description": "description", "created_at": "created_at"}
        body: dict[str, Any] = {"version": 1, "request": {member: request[name] for member, name in names.items()}}
        if "fallback_channel" in request:
            route = {"channels": request["channels"], "fallback": request["fallback_channel"]}
            body |= {"version": 2, "route": route, "ttl": int(request["ttl"])}
        enqueue(stack, Channel(request["channels"][0]), json.dumps(body))
    stack.reconcile(later=SETTLED)
    deliver(stack)
    assert stack.status(request[PARTITION_KEY]) == "delivered"
    assert sent(slack) == (unpublished or old["status"] != "delivered")


@files("ledger")
def test_the_reconciler_checks_requests_that_an_old_version_listed_as_open_until_their_final_status(
    stack: Cloud, path: Path
) -> None:
    old = dict(plain(read(path)))
    stack.table.put_item(Item=old)
    for request_id in old["open"]:
        about = {"id": request_id, "topic": "sales", "description": "help", "created_at": "2026-01-25T00:22:00.000Z"}
        stack.table.put_item(Item=accepted(about))
        enqueue(stack, Channel.SLACK, json.dumps({"version": 1, "request": about}))
    for sweep in (1, 2):
        assert stack.reconcile(later=sweep * SETTLED)["ledger"]["open"] == len(old["open"])
    deliver(stack)
    assert stack.reconcile(later=3 * SETTLED)["ledger"]["open"] == 0


def read_all(version: str, kind: str) -> Iterator[Any]:
    return (read(path) for path in CORPUS.glob(f"{version}/{kind}/*.json"))


def names(document: Any) -> set[str]:  # noqa: ANN401
    """The names of all JSON fields, at any depth."""
    if isinstance(document, list):
        return set().union(*map(names, document))
    return set(document).union(*map(names, document.values())) if isinstance(document, dict) else set()


def test_the_stored_examples_contain_every_attribute_of_current_messages_and_items(
    stack: Cloud, slack: SlackServer
) -> None:
    bodies = [
        old["body"] for version in VERSIONS for kind in ("messages", "callbacks") for old in read_all(version, kind)
    ]
    assert set(Message.model_fields) == {name for body in bodies for name in json.loads(body)}
    newest = VERSIONS[-1]
    images = [old["dynamodb"]["NewImage"] for old in read_all(newest, "stream")]
    items = [item for old in read_all(newest, "items") for item in old["items"]]
    request_id = fail_on_slack(stack, slack, "down")
    feedback(stack, "bounce", mailed(stack))
    resend(stack.table, request_id, Channel.SLACK)
    for record in stack.stream_records():
        assert names(record["dynamodb"]["NewImage"]) <= names(images + items)
    assert newest == f"v{Message.model_fields['version'].default}"


@pytest.mark.parametrize("shape", [{}, {"request": {"id": "ID"}}, {"requests": [{"text": "x"}]}])
def test_a_message_of_a_later_version_goes_unchanged_to_the_dead_letter_queue_with_later_version_as_reason(
    stack: Cloud, slack: SlackServer, shape: dict[str, Any]
) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    body = json.dumps(json.loads(record["body"]) | shape | {"version": 3}).replace('"ID"', f'"{request_id}"')
    assert stack.consume(Channel.SLACK, [{**record, "body": body}]) == []
    [letter] = stack.dead_letters(Channel.SLACK)
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "unknown_version"
    assert letter["Body"] == body
    assert not slack.messages


def test_the_fallback_delivers_a_request_whose_message_is_of_a_later_version(stack: Cloud, slack: SlackServer) -> None:
    request_id = stack.post("sales")
    stack.produce()
    [record] = stack.receive(Channel.SLACK)
    stack.consume(Channel.SLACK, [{**record, "body": record["body"].replace('"version":2', '"version":3')}])
    stack.reconcile(later=SETTLED)
    assert stack.status(request_id) == "failed"
    stack.reconcile(later=2 * SETTLED)
    deliver(stack)
    assert stack.status(request_id) == "delivered"
    assert (len(slack.messages), len(emails())) == (0, 1)


def test_an_old_message_is_not_sent_for_a_later_request_with_the_same_id(stack: Cloud, slack: SlackServer) -> None:
    """An operator may redrive a message after its request was deleted and a later one has got the same id."""
    request_id = stack.post("sales", Idempotency_Key="key")
    earlier = {"id": request_id, "topic": "sales", "description": "old", "created_at": "2026-01-25T00:22:01.086Z"}
    enqueue(stack, Channel.SLACK, json.dumps({"version": 1, "request": earlier}))
    deliver(stack)
    assert (sent(slack), stack.status(request_id)) == (0, "accepted")
    stack.produce()
    deliver(stack)
    assert (sent(slack), stack.status(request_id)) == (1, "delivered")
