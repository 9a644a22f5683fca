"""What AWS and Slack would answer, at once and always the same: what is measured is ours, not theirs."""

import json
import re
import ssl
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import trustme
from botocore.httpsession import DEFAULT_CA_BUNDLE

from assistance.domain import transitions
from assistance.platform.clock import ms_of, timestamp, utc_now
from assistance.platform.dynamodb import noted
from assistance.routing import ROUTES, Topic
from assistance.store import codec
from assistance.store.schema import INDEX_SHARDS, LEDGER

MESSAGE_ID = "0100018b-0000-4000-8000-000000000000"
SLACK_PATH = "/slack/api/"
OVERDUE = 1_000
"""Requests in the outbox, of the table whose name says so."""
SWEPT_TABLE = "overdue"
_CREATED_AT = timestamp(utc_now() - timedelta(hours=1))
_IDS = tuple(str(uuid.UUID(int=number)) for number in range(OVERDUE))


def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[str, bytes]:
    """The media type and the body of what a call would be answered with: always a 200."""
    if path.startswith(SLACK_PATH):
        return "application/json", b'{"ok": true, "channel": "C0ASSIST", "ts": "1732000000.000100"}'
    if path.startswith("/v2/email/"):
        return "application/json", json.dumps({"MessageId": MESSAGE_ID}).encode()
    service, _, operation = headers.get("x-amz-target", "").partition(".")
    if service.startswith("DynamoDB"):
        return "application/x-amz-json-1.0", json.dumps(_dynamodb(operation, json.loads(body))).encode()
    if service == "AmazonSQS":
        # Queues are empty: no message is received, and none is counted.
        attributes = dict.fromkeys(json.loads(body).get("AttributeNames", ()), "0")
        return "application/x-amz-json-1.0", json.dumps({"Attributes": attributes}).encode()
    if service == "secretsmanager":
        return "application/x-amz-json-1.1", b'{"Name": "slack", "SecretString": "xoxb-none"}'
    return "text/xml", _sns(parse_qs(body.decode()))


def _dynamodb(operation: str, call: dict[str, object]) -> dict[str, object]:  # noqa: PLR0911
    match operation, call:
        case "Query", {"TableName": "overdue", "IndexName": "outbox", "ExpressionAttributeValues": dict(values)}:
            shard = int(next(value["N"] for value in values.values() if "N" in value))
            keys = [
                {"pk": {"S": id_}, "sk": {"S": "REQUEST"}, "created_at": {"S": _CREATED_AT}}
                for id_ in _IDS[shard::INDEX_SHARDS]
            ]
            return {"Items": keys, "Count": len(keys)}
        case "BatchGetItem", {"RequestItems": {"overdue": {"Keys": list(keys)}}}:
            return {"Responses": {"overdue": [request_item(key["pk"]["S"], _CREATED_AT) for key in keys]}}
        case "GetItem", {"Key": {"pk": {"S": str(id_)}, "sk": {"S": "REQUEST"}}}:
            return {"Item": request_item(id_, _CREATED_AT)}
        case "Query", {"ConsistentRead": True, "ExpressionAttributeValues": dict(values)}:
            items = [_looked_at()] if {"S": LEDGER} in values.values() else [_mailed(), _mailed_record()]
            return {"Items": items, "Count": len(items)}
        case "Query", _:
            return {"Items": [], "Count": 0}
        case "BatchGetItem", _:
            return {"Responses": {}}
    return {}


def expires(created_at: str) -> int:
    """When a request is forgotten, in seconds since 1970."""
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


def _mailed() -> dict[str, object]:
    return request_item(_IDS[0], _CREATED_AT, Topic.PRICING)


@cache
def _mailed_record() -> dict[str, object]:
    route, at = ROUTES[Topic.PRICING], ms_of(_CREATED_AT)
    ttl = expires(_CREATED_AT)
    record = transitions.first(
        route.channels, route.fallback, topic=Topic.PRICING, created_at=at, ttl=ttl, calls_back=False
    )
    record, _ = transitions.claim(record, "email", "attempt", now=at, until=at + 60_000, limit=6)
    record = transitions.sent(record, "email", "attempt", MESSAGE_ID, now=at)
    item = codec.item_of(_IDS[0], replace(record, version=1), {})
    return {name: noted(value) for name, value in item.items()}


def _looked_at() -> dict[str, object]:
    return {"pk": {"S": LEDGER}, "sk": {"S": LEDGER}, "looked_until": {"S": _CREATED_AT}}


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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer's body would wait for its head to be acknowledged: 40 ms.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Whatever is called, all of it by POST."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        media_type, content = answer(self.path, headers, body)
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(("localhost", 0), _Handler)
        self._tls = tls

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """A connection. Its thread, not this one, shakes hands: at its first read."""
        connection, address = super().get_request()
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address


@contextmanager
def served(directory: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The answers over HTTPS: by URL, and the variables by which a process trusts it.

    botocore's certificates, and the server's among them: as many as are read on AWS.
    """
    authority, tls = trustme.CA(key_type=trustme.KeyType.RSA), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", key_type=trustme.KeyType.RSA).configure_cert(tls)
    trusted = directory / "trusted.pem"
    trusted.write_bytes(Path(DEFAULT_CA_BUNDLE).read_bytes() + authority.cert_pem.bytes())
    with _Server(tls) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_address[1]}", {"SSL_CERT_FILE": str(trusted)}
        server.shutdown()
