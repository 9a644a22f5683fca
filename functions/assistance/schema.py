"""The names in the table: one place for what the functions write and the infrastructure indexes."""

PARTITION_KEY = "pk"
SORT_KEY = "sk"
TTL = "ttl"

REQUEST = "REQUEST"
DELIVERY_PREFIX = "DELIVERY#"

OUTBOX_INDEX = "outbox"
OUTBOX_SHARD = "outbox"
"""On a request item only while it is unpublished, so the index lists just what is to be published."""
CREATED_AT = "created_at"

OUTBOX_SHARDS = 8
"""One partition of an index takes 1,000 writes a second, and an entry is written and removed once:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"""
