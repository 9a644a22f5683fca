"""Publishes new outbox entries as the table's stream reports them."""

from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance import aws
from assistance.errors import Unreadable
from assistance.items import outbox_entry_of, plain
from assistance.models import OutboxEntry
from assistance.observability import logger
from assistance.publisher import Publisher
from assistance.requests import Requests
from assistance.unforeseen import without_messages
from stream_producer.settings import settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse


@cache
def publisher() -> Publisher:
    """The publisher to the deployed topic."""
    return Publisher(aws.sns(), settings().topic_arn, Requests(aws.table(settings().table_name)))


def entries_of(records: list[dict[str, Any]]) -> tuple[dict[str, OutboxEntry], list[str]]:
    """The outbox entries by their sequence number, and the sequence numbers of the records that hold none.

    The event source's filter lets only items with an outbox attribute through, so a record that holds no entry is
    damaged, and is reported rather than passed over.
    """
    entries: dict[str, OutboxEntry] = {}
    damaged: list[str] = []
    for record in records:
        sequence_number = record["dynamodb"]["SequenceNumber"]
        try:
            entries[sequence_number] = outbox_entry_of(plain(record["dynamodb"].get("NewImage", {})))
        except Unreadable as error:
            logger.error("a stream record holds no outbox entry", sequence_number=sequence_number, wrong=str(error))
            damaged.append(sequence_number)
    return entries, damaged


@logger.inject_lambda_context(log_event=False)
@without_messages()
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> "PartialItemFailureResponse":  # noqa: ARG001
    """Publish a batch of stream records; name those that could not be, for Lambda to retry from there."""
    entries, failed = entries_of(event["Records"])
    unpublished = publisher().publish(list(entries.values()))
    failed += [number for number, entry in entries.items() if entry in unpublished]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
