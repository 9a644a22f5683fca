"""The quotas of AWS and Slack, each with its source, and the durations that we assume for their answers."""

from dataclasses import dataclass
from typing import Final

from assistance.slack.message import MAX_BLOCKS, MAX_MESSAGE_CHARACTERS
from assistance.store.schema import INDEX_SHARDS
from infra.batches import PARALLELIZATION_FACTOR, STREAM

GATEWAY_RATE: Final = 10_000
GATEWAY_BURST: Final = 5_000
"""API Gateway's burst of calls, and `GATEWAY_RATE`, its calls a second, per account and region; in some regions 1,250
and 2,500:
https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""

LAMBDA_CONCURRENCY: Final = 1_000
"""Lambda's concurrency per account; a new account may have ten. Every ten seconds, each function can add 1,000
environments, or 10,000 calls a second: https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html."""
NEW_ACCOUNT_CONCURRENCY: Final = 10

PARTITION_WRITES: Final = 1_000
"""Write units a second of one partition, of the table or of an index:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html. If an index is throttled,
writes to the table are too: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/gsi-throttling.html"""

NEW_TABLE_WRITES: Final = 4_000
"""Write units a second of a new on-demand table; an older table has twice its peak of the last 30 minutes:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html. So we assume that a new
table has four partitions, and its stream four shards."""
NEW_TABLE_PARTITIONS: Final = NEW_TABLE_WRITES // PARTITION_WRITES

TABLE_WRITES: Final = 40_000
"""The default quota of write units a second of a table:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"""

SNS_MESSAGES: Final = 30_000
"""Messages a second that SNS accepts in us-east-1, in batches or not; 300 in the smallest regions:
https://docs.aws.amazon.com/general/latest/gr/sns.html"""

SANDBOX_MAILS: Final = 1
"""Mails a second in the sandbox of SES, and 200 a day; outside of it, AWS grants a quota:
https://docs.aws.amazon.com/ses/latest/dg/quotas.html"""

SLACK_POSTS: Final = 1
"""Posts a second in a Slack channel; Slack accepts short bursts: https://docs.slack.dev/apis/web-api/rate-limits"""
SLACK_BURST: Final = 3
"""Our assumption of how many posts a burst may have: Slack does not say."""

WRITES: Final = 4
"""Write units of the table per request, if its items have less than 1 KB: accept, mark as published, claim, deliver."""
OUTBOX_WRITES: Final = 2
"""Writes to the outbox index per request: adding and removing its entry. The ledger's index has one write."""

THROTTLE_RATE: Final = 100
"""The default limit of calls a second per API key: infra/config."""

# Assumptions: how long answers of AWS and Slack take, in seconds.
TABLE_SECONDS: Final = 0.005
SNS_SECONDS: Final = 0.03
SES_SECONDS: Final = 0.1
SLACK_SECONDS: Final = 0.3
VCPU: Final = 512 / 1_769
"""The share of a vCPU that a function with 512 MB has:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

ENTRY_CHARACTERS: Final = 414
"""Characters of a digest's entry besides the description, with a button to take it, and the customer's name, address,
number and conversation: assistance/slack/message.py. tests/unit/test_simulation.py compares this with real messages."""
TITLE_CHARACTERS: Final = 200
MAX_ENTRIES: Final = MAX_BLOCKS - 1


def requests_per_message(description: int) -> int:
    """How many requests fit into one Slack message if each description has so many characters."""
    return max(1, min(MAX_ENTRIES, (MAX_MESSAGE_CHARACTERS - TITLE_CHARACTERS) // (ENTRY_CHARACTERS + description)))


@dataclass(frozen=True, slots=True)
class Work:
    """The CPU seconds per request in each function, and per batch of the producer, as `make load` measures them."""

    api: float
    publish: float
    publish_batch: float
    deliver: float

    @property
    def accept_seconds(self) -> float:
        """The seconds to accept a request on Lambda."""
        return self.api / VCPU + TABLE_SECONDS

    @property
    def publish_record(self) -> float:
        """The seconds that the producer needs for each record of a batch."""
        return self.publish / VCPU

    @property
    def publish_overhead(self) -> float:
        """The producer's seconds for a batch besides `publish_record`. It makes ten calls to a service at once."""
        return self.publish_batch / VCPU + SNS_SECONDS + TABLE_SECONDS * STREAM.size / 10

    @property
    def publishers_rate(self) -> float:
        """The requests a second that the producer's concurrent invocations for one shard of the stream can publish."""
        took = self.publish_overhead + self.publish_record * STREAM.size
        return PARALLELIZATION_FACTOR * STREAM.size / took


def index_rate(shards: int = INDEX_SHARDS) -> float:
    """The requests a second that the outbox index can handle with so many shards."""
    return shards * PARTITION_WRITES / OUTBOX_WRITES
