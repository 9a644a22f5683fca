"""A server in place of AWS, Slack, Teams and a bot. It answers at once, so that only our code is measured."""

import json
import re
import ssl
import threading
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import trustme
from botocore.httpsession import DEFAULT_CA_BUNDLE

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.platform.clock import ms_of, timestamp, utc_now
from assistance.platform.dynamodb import noted
from assistance.routing import ROUTES, Topic
from assistance.store import codec
from assistance.store.schema import INDEX_SHARDS, LEDGER

MESSAGE_ID = "0100018b-0000-4000-8000-000000000000"
SLACK_PATH = "/slack/api/"
TEAMS_PATH = "/teams/"
BOT_PATH = "/bot/"
BOT_HOST = "bot.example.com"
"""The host of the bot that gets callbacks: a public name, which is also in the server's certificate."""
KEY = "0123456789abcdef" * 3
"""The value of every secret that signs something."""
OVERDUE = 1_000
"""How many unpublished requests the table `overdue` has."""
SWEPT_TABLE = "overdue"
# The stream has missed these requests, so the first sweep after the grace period of a minute publishes them.
CREATED_AT = timestamp(utc_now() - timedelta(minutes=2))
POSTED_AS = f"{ms_of(CREATED_AT) // 1_000}.000100"
"""Slack's id of a message: when it was posted. A message that is older than its request shows another request."""
_IDS = tuple(str(uuid.UUID(int=number)) for number in range(OVERDUE))
MAILED, POSTED, *CALLING_BACK = (str(uuid.UUID(int=OVERDUE + number)) for number in range(12))
"""Ids of delivered requests: one by email, one to Slack, and ten by email whose bots still wait for a callback."""
CALLBACK = "callback-1"


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[str, bytes]:  # noqa: PLR0911
    """The media type and the body of the answer to a call. The status is always 200."""
    if path.startswith((TEAMS_PATH, BOT_PATH)):
        return "text/plain", b""
    if path.startswith(SLACK_PATH):
        return "application/json", json.dumps({"ok": True, "channel": "C0ASSIST", "ts": POSTED_AS}).encode()
    if path.startswith("/v2/email/"):
        return "application/json", json.dumps({"MessageId": MESSAGE_ID}).encode()
    service, _, operation = headers.get("x-amz-target", "").partition(".")
    if service.startswith("DynamoDB"):
        return "application/x-amz-json-1.0", json.dumps(_dynamodb(operation, json.loads(body))).encode()
    if service == "AmazonSQS":
        # All queues are empty.
        attributes = dict.fromkeys(json.loads(body).get("AttributeNames", ()), "0")
        return "application/x-amz-json-1.0", json.dumps({"Attributes": attributes}).encode()
    if service == "secretsmanager":
        return "application/x-amz-json-1.1", json.dumps(_secret(json.loads(body)["SecretId"], headers)).encode()
    return "text/xml", _sns(parse_qs(body.decode()))


def _secret(arn: str, headers: Mapping[str, str]) -> dict[str, str]:
    name = arn.rpartition(":")[2]
    texts = {
        "slack": "xoxb-none",
        "teams": f"https://{headers.get('host', '')}{TEAMS_PATH}workflow?sig=none",
        "callback": b64encode(KEY.encode()).decode(),
    }
    return {"Name": name, "SecretString": texts.get(name, KEY)}


def _dynamodb(operation: str, call: dict[str, object]) -> dict[str, object]:  # noqa: PLR0911
    match operation, call:
        case "Query", {"TableName": "overdue", "IndexName": "outbox", "ExpressionAttributeValues": dict(values)}:
            shard = int(next(value["N"] for value in values.values() if "N" in value))
            keys = [
                {"pk": {"S": id_}, "sk": {"S": "REQUEST"}, "created_at": {"S": CREATED_AT}}
                for id_ in _IDS[shard::INDEX_SHARDS]
            ]
            return {"Items": keys, "Count": len(keys)}
        case "BatchGetItem", {"RequestItems": {"overdue": {"Keys": list(keys)}}}:
            # None of these requests has a record yet.
            asked = [key["pk"]["S"] for key in keys if key["sk"]["S"] == "REQUEST"]
            return {"Responses": {"overdue": [request_item(id_, CREATED_AT) for id_ in asked]}}
        case "GetItem", {"Key": {"pk": {"S": str(id_)}, "sk": {"S": "REQUEST"}}}:
            return {"Item": request_item(id_, CREATED_AT)}
        case "Query", {"ConsistentRead": True, "ExpressionAttributeValues": dict(values)}:
            id_ = next(value["S"] for value in values.values() if "S" in value)
            items = [_reconciler_progress()] if id_ == LEDGER else list(_delivered(id_))
            return {"Items": items, "Count": len(items)}
        case "Query", _:
            return {"Items": [], "Count": 0}
        case "BatchGetItem", {"RequestItems": {"table": {"Keys": list(keys)}}}:
            return {"Responses": {"table": [item for key in keys for item in _delivered(key["pk"]["S"]) if
                                            item["sk"] == key["sk"]]}}  # fmt: skip
        case "BatchGetItem", _:
            return {"Responses": {}}
    return {}


def expires(created_at: str) -> int:
    """The time at which the table deletes a request that was accepted at `created_at`, as Unix time in seconds."""
    return int((datetime.fromisoformat(created_at) + timedelta(days=90)).timestamp())


def request_item(request_id: str, created_at: str, topic: Topic = Topic.SALES) -> dict[str, object]:
    """An unpublished request, in DynamoDB's notation."""
    route = ROUTES[topic]
    channels = {"L": [{"S": channel} for channel in route.channels]}
    return {
        "pk": {"S": request_id},
        "sk": {"S": "REQUEST"},
        "topic": {"S": topic},
        "description": {"S": "A quote for 40 seats"},
        "created_at": {"S": created_at},
        "payload_hash": {"S": "0" * 64},
        "ttl": {"N": str(expires(created_at))},
        "channels": channels,
        "fallback_channel": {"S": route.fallback} if route.fallback else {"NULL": True},
        "outbox_channels": channels,
        "outbox": {"N": "1"},
        "ledger": {"N": "1"},
    }


@cache
def _delivered(request_id: str) -> tuple[dict[str, Any], ...]:
    """The items of a request that is delivered."""
    topic, calls_back = Topic.SALES if request_id == POSTED else Topic.PRICING, request_id in CALLING_BACK
    route, at, ttl = ROUTES[topic], ms_of(CREATED_AT), expires(CREATED_AT)
    [channel] = route.channels
    record = transitions.first(Record(topic, at, ttl, route.channels, route.fallback, calls_back=calls_back))
    record, _ = transitions.claim(record, channel, "attempt", now=at, until=at + 60_000, limit=6)
    record = transitions.sent(record, channel, "attempt", POSTED_AS if channel == "slack" else MESSAGE_ID, now=at)
    item = codec.item_of(request_id, replace(record, version=1), {})
    request = request_item(request_id, CREATED_AT, topic)
    if calls_back:
        request["callback_url"] = {"S": callback_url()}
    return request, {name: noted(value) for name, value in item.items()}


def callback_url() -> str:
    """The URL at which a bot wants to get the callback."""
    return f"https://{BOT_HOST}{BOT_PATH}callbacks"


def _reconciler_progress() -> dict[str, object]:
    return {"pk": {"S": LEDGER}, "sk": {"S": LEDGER}, "looked_until": {"S": CREATED_AT}}


def _sns(call: Mapping[str, list[str]]) -> bytes:
    if call["Action"] == ["Publish"]:
        result = f"<PublishResult><MessageId>{MESSAGE_ID}</MessageId></PublishResult>"
        return f"<PublishResponse>{result}</PublishResponse>".encode()
    taken = [values[0] for name, values in call.items() if re.search(r"\.Id$", name)]
    members = "".join(f"<member><Id>{id_}</Id><MessageId>{MESSAGE_ID}</MessageId></member>" for id_ in taken)
    return (
        '<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult>'
        f"<Failed/><Successful>{members}</Successful></PublishBatchResult></PublishBatchResponse>"
    ).encode()


@dataclass(frozen=True, slots=True)
class FakeServices:
    """A running server: its URL, and the environment variables with which a process trusts the server's certificate.

    `calls` counts how often each AWS operation, or each path, was called.
    """

    url: str
    trust: Mapping[str, str]
    calls: Counter[str] = field(default_factory=Counter)


def _called(target: str | None, path: str) -> str:
    """The AWS operation named by `target`, the X-Amz-Target header; without it the path's last part, or `/` for SNS."""
    return target.rpartition(".")[2] if target else path.partition("?")[0].rpartition("/")[2] or "/"


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"
    # With Nagle's algorithm, an answer's body would wait 40 ms for the acknowledgement of its headers.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer a call; all calls are made with POST."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.calls[_called(headers.get("x-amz-target"), self.path)] += 1
        media_type, content = answer(self.path, headers, body)
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(("localhost", 0), _Handler)
        self._tls = tls
        self.calls = Counter[str]()

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """Accept a connection. Its own thread does the TLS handshake, so that other connections don't wait."""
        connection, address = super().get_request()
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address


@contextmanager
def running(directory: Path) -> Iterator[FakeServices]:
    """Serve the simulated answers over HTTPS while the context is entered.

    Writes the trusted certificates to the directory: botocore's and the server's. So a measured process reads about as
    many certificates as on AWS.
    """
    authority, tls = trustme.CA(key_type=trustme.KeyType.RSA), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", BOT_HOST, key_type=trustme.KeyType.RSA).configure_cert(tls)
    trusted = directory / "trusted.pem"
    trusted.write_bytes(Path(DEFAULT_CA_BUNDLE).read_bytes() + authority.cert_pem.bytes())
    with _Server(tls) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield FakeServices(
            f"https://localhost:{server.server_address[1]}", {"SSL_CERT_FILE": str(trusted)}, server.calls
        )
        server.shutdown()
