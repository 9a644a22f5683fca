"""What AWS and Slack allow, each with the page that says so, and what we take their answers to last."""

from dataclasses import dataclass
from typing import Final

from assistance.slack.message import MAX_BLOCKS, MAX_MESSAGE_CHARACTERS
from assistance.store.schema import INDEX_SHARDS
from infra.batches import PARALLELIZATION_FACTOR, STREAM

GATEWAY_RATE: Final = 10_000
GATEWAY_BURST: Final = 5_000
"""Of an account and region; 2,500 and 1,250 in some regions:
https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""

LAMBDA_CONCURRENCY: Final = 1_000
"""https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html: and 1,000 more environments, or 10,000 more calls
a second, every ten seconds for each function. A new account may have a concurrency of ten."""
NEW_ACCOUNT_CONCURRENCY: Final = 10

PARTITION_WRITES: Final = 1_000
"""Write units a second of one partition, of the table or of an index:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html. An index that
is refused a write refuses the table's: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/gsi-throttling.html"""

NEW_TABLE_WRITES: Final = 4_000
"""Of a table on demand that has never had more; then twice its peak of the last 30 minutes:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html. So four partitions, and
as many shards of its stream, is what we take a new table to have."""
NEW_TABLE_PARTITIONS: Final = NEW_TABLE_WRITES // PARTITION_WRITES

TABLE_WRITES: Final = 40_000
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"""

SNS_MESSAGES: Final = 30_000
"""A second, in batches or not, in us-east-1; 300 in the smallest regions:
https://docs.aws.amazon.com/general/latest/gr/sns.html"""

SANDBOX_MAILS: Final = 1
"""A second, and 200 a day; after that as granted: https://docs.aws.amazon.com/ses/latest/dg/quotas.html"""

SLACK_POSTS: Final = 1
"""A second in a channel; short bursts may pass: https://docs.slack.dev/apis/web-api/rate-limits"""
SLACK_BURST: Final = 3
"""Ours: Slack says that bursts may pass, not how long."""

WRITES: Final = 4
"""Of the table for each request, if its item has less than a kilobyte: accept, mark, claim, deliver."""
OUTBOX_WRITES: Final = 2
"""Of the outbox index: in, and out again. The ledger's index has one."""

THROTTLE_RATE: Final = 100
"""Of a key, unless the deployer sets another: infra/config."""

# Assumed: what AWS's and Slack's answers take, in seconds.
TABLE_SECONDS: Final = 0.005
SNS_SECONDS: Final = 0.03
SES_SECONDS: Final = 0.1
SLACK_SECONDS: Final = 0.3
VCPU: Final = 512 / 1_769
"""The share of a vCPU that our functions have: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

ENTRY_CHARACTERS: Final = 414
"""Of an entry besides its description, with a button to take it, and the customer's name, address, number and
conversation: assistance/slack/message.py. tests/unit/test_simulation.py holds it against the messages."""
TITLE_CHARACTERS: Final = 200
MAX_ENTRIES: Final = MAX_BLOCKS - 1


def together(description: int) -> int:
    """How many requests with descriptions of so many characters go into one message to Slack."""
    return max(1, min(MAX_ENTRIES, (MAX_MESSAGE_CHARACTERS - TITLE_CHARACTERS) // (ENTRY_CHARACTERS + description)))


@dataclass(frozen=True, slots=True)
class Work:
    """The CPU's seconds for a request in each function, as `make load` measures them."""

    api: float
    publish: float
    publish_batch: float
    deliver: float

    @property
    def accept_seconds(self) -> float:
        """How long accepting takes on Lambda."""
        return self.api / VCPU + TABLE_SECONDS

    @property
    def publish_record(self) -> float:
        """How long each record of a batch adds."""
        return self.publish / VCPU

    @property
    def publish_overhead(self) -> float:
        """How long a batch takes besides: of its calls to SNS and to the table, ten are under way at once."""
        return self.publish_batch / VCPU + SNS_SECONDS + TABLE_SECONDS * STREAM.size / 10

    @property
    def publishers_rate(self) -> float:
        """Requests a second that one shard's invocations publish."""
        took = self.publish_overhead + self.publish_record * STREAM.size
        return PARALLELIZATION_FACTOR * STREAM.size / took


def index_rate(shards: int = INDEX_SHARDS) -> float:
    """Requests a second that the outbox index takes with so many shards."""
    return shards * PARTITION_WRITES / OUTBOX_WRITES
