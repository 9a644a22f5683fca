"""The names of the table's keys, attributes and indexes, for the functions and the infrastructure."""

import zlib
from enum import IntEnum

PARTITION_KEY = "pk"
SORT_KEY = "sk"
TTL = "ttl"
REQUEST = "REQUEST"  # the sort key of the item with the bot's request
RECORD = "RECORD"  # the sort key of the item with the request's record: `codec.py` defines its format
PROGRESS = "LOOKED"  # the whole key of the item that says up to when the reconciler has checked new requests
LEDGER = "LEDGER"  # the whole key of the same item of version 1, which overwrites the whole item after a rollback

# Each index lists only the items that have its attribute.
OUTBOX_INDEX = "outbox"
OUTBOX_SHARD = "outbox"  # on items with a message to publish
DUE_INDEX = "due"
DUE_SHARD = "due"  # on the records of requests that the reconciler watches
DUE_AT = "due_at"  # on the same records: when the reconciler must check it, in milliseconds since 1970
LEDGER_INDEX = "ledger"
LEDGER_SHARD = "ledger"  # on every request item: the index lists all requests in the order of their acceptance

CREATED_AT = "created_at"
TOPIC = "topic"
CHANNELS = "channels"  # on a request item: the channels of its route when it was accepted
FALLBACK_CHANNEL = "fallback_channel"  # on a request item: the fallback of that route, if it had one
ESCALATE_AFTER = "escalate_after"  # on a request item: the minutes in which a human must take it, if there is a limit
PUBLISHED_AT = "published_at"
VERSION = "version"  # on a record: each write adds one to it
TRACE = "trace"  # on a request item: the X-Ray trace header of the bot's call, if X-Ray sampled the call

INDEX_SHARDS = 24
"""One partition of an index takes 1,000 writes a second, and each request makes two in the outbox index. So 24 shards
take more requests than API Gateway lets through. Never lower the number: nobody would read the shards left over.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"""

DUE_SHARDS = 8
"""Fewer than `INDEX_SHARDS`: the reconciler watches few of the accepted requests, and each sweep reads every shard."""


def shard(request_id: str) -> int:
    """The shard of a request in the outbox index and in the index of accepted requests."""
    return zlib.crc32(request_id.encode()) % INDEX_SHARDS


class Due(IntEnum):
    """What a watched request waits for. Each has `DUE_SHARDS` shards, which the reconciler reads separately."""

    OPEN = 0  # an attempt at a delivery to humans
    TO_TAKE = 1  # a human who takes it, until the reconciler decides whether to escalate it
    CALLBACK = 2  # a callback only


def due_shards(waits_for: Due) -> range:
    """The shards of the requests that wait for that, in the index of due requests."""
    return range(waits_for * DUE_SHARDS, (waits_for + 1) * DUE_SHARDS)


def due_shard(request_id: str, waits_for: Due) -> int:
    """A request's shard in the index of due requests."""
    return due_shards(waits_for)[zlib.crc32(request_id.encode()) % DUE_SHARDS]
