"""The names in the table: one place for what the functions write and the infrastructure indexes."""

import zlib

PARTITION_KEY = "pk"
SORT_KEY = "sk"
TTL = "ttl"

REQUEST = "REQUEST"
"""The bot's request. Written once; afterwards only marked as published."""
RECORD = "RECORD"
"""The history of the request: `codec.py`."""

OUTBOX_INDEX = "outbox"
OUTBOX_SHARD = "outbox"
"""Only on items with a message to publish, so the index lists just these."""

DUE_INDEX = "due"
DUE_SHARD = "due"
"""Only on the records of requests that the reconciler watches until they end."""
DUE_AT = "due_at"
"""On these: when the reconciler must check it, in milliseconds since 1970."""
ESCALATE_AFTER = "escalate_after"
"""On a request item: the minutes after which the fallback is used if nobody has taken it, if its route had any."""

LOOKED = "LOOKED"
"""The partition and the item that say up to when the reconciler has checked new requests."""
LEDGER = "LEDGER"
"""The same of version 1, which overwrites all of its item after a rollback."""

LEDGER_INDEX = "ledger"
LEDGER_SHARD = "ledger"
"""On every request item, so the index lists all requests in the order in which they were accepted."""

CREATED_AT = "created_at"
TOPIC = "topic"
CHANNELS = "channels"
"""On a request item: those of its route when it was accepted."""
FALLBACK_CHANNEL = "fallback_channel"
"""On a request item: the fallback of its route when it was accepted, if the route had one."""
PUBLISHED_AT = "published_at"
VERSION = "version"
"""On a record: each write adds one to it."""
TRACE = "trace"
"""On a request item whose call was traced."""

INDEX_SHARDS = 24
"""One partition of an index takes 1,000 writes a second, and a request is two in the outbox index, in and out. So these
take 12,000 requests a second, more than API Gateway lets through: benchmarks/simulation.md. More may be had at any
time; fewer would hide what lies in those that are gone.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"""


DUE_SHARDS = 8
"""The reconciler watches few of the accepted requests, and each sweep reads every shard."""


def shard(request_id: str) -> int:
    """The shard of a request in the indexes of the outbox and of accepted requests."""
    return zlib.crc32(request_id.encode()) % INDEX_SHARDS


def due_shard(request_id: str, *, only_to_take: bool = False) -> int:
    """The shard of a request in the index of watched requests.

    `only_to_take`: it waits for nothing but a human who takes it. Such requests have shards of their own, of which a
    sweep reads only what is due.
    """
    return zlib.crc32(request_id.encode()) % DUE_SHARDS + (DUE_SHARDS if only_to_take else 0)
