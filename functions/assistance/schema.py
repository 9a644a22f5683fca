"""The names in the table: one place for what the functions write and the infrastructure indexes."""

import zlib

PARTITION_KEY = "pk"
SORT_KEY = "sk"
TTL = "ttl"

REQUEST = "REQUEST"
DELIVERY_PREFIX = "DELIVERY#"
CALLBACK_PREFIX = "CALLBACK#"

OUTBOX_INDEX = "outbox"
OUTBOX_SHARD = "outbox"
"""On a request item only while it is unpublished, so the index lists just what is to be published. On a delivery item
while its end is to be published to the callback."""

LEDGER = "LEDGER"
"""The partition, and in it the item, of the reconciler's ledger."""
REOPENED_PREFIX = "REOPENED#"
"""In the ledger's partition, an item for each request that is on its way again after it had ended."""

LEDGER_INDEX = "ledger"
LEDGER_SHARD = "ledger"
"""On every request item, so the index lists all requests in the order in which they were accepted."""

CREATED_AT = "created_at"
TOPIC = "topic"
CHANNELS = "channels"
"""On a request item: those of its route when it was accepted."""
TRACE = "trace"
"""On a request item whose call was traced."""

INDEX_SHARDS = 24
"""One partition of an index takes 1,000 writes a second, and a request is two in the outbox index, in and out. So these
take 12,000 requests a second, more than API Gateway lets through: benchmarks/simulation.md. More may be had at any
time; fewer would hide what lies in those that are gone.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"""


def shard(request_id: str) -> int:
    """The shard of a request in either index."""
    return zlib.crc32(request_id.encode()) % INDEX_SHARDS
