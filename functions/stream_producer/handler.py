"""Publishes new outbox entries as the table's stream reports them."""

from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance.engine.outbox import Outboxed
from assistance.engine.publisher import Publisher
from assistance.errors import TableUnavailable, Unreadable
from assistance.platform import aws
from assistance.platform.observability import logger
from assistance.platform.unforeseen import without_messages
from assistance.store.items import plain
from assistance.store.requests import Requests
from assistance.store.table import Items
from stream_producer.settings import settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse


@cache
def publisher() -> Publisher:
    """The publisher to the deployed topic."""
    requests = Requests(Items(aws.table(settings().table_name)))
    return Publisher(aws.sns(), settings().topic_arn, requests)


def read(records: list[dict[str, Any]]) -> tuple[dict[str, Outboxed], list[str]]:
    """The items in the outbox by their sequence number, and the sequence numbers of what can't be read.

    The event source's filter lets only items with an outbox attribute through, so a record that holds no entry is
    damaged, and is reported rather than passed over.
    """
    items: dict[str, Outboxed] = {}
    failed: list[str] = []
    for record in records:
        sequence_number = record["dynamodb"]["SequenceNumber"]
        try:
            items[sequence_number] = publisher().read(plain(record["dynamodb"].get("NewImage", {})))
        except Unreadable as error:
            logger.error("a stream record holds no outbox entry", sequence_number=sequence_number, wrong=str(error))
            failed.append(sequence_number)
        except TableUnavailable as error:
            logger.error("a request can't be read now", sequence_number=sequence_number, error_code=str(error))
            failed.append(sequence_number)
    return items, failed


@logger.inject_lambda_context(log_event=False)
@without_messages()
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> "PartialItemFailureResponse":  # noqa: ARG001
    """Publish a batch of stream records; name those that could not be, for Lambda to retry from there."""
    items, failed = read(event["Records"])
    unpublished = publisher().publish(list(items.values()))
    failed += [number for number, item in items.items() if not unpublished.isdisjoint(item.publications)]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
