"""Publishes new outbox entries, which the table's stream reports."""

from functools import cache, partial
from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from assistance.engine.outbox import Outboxed
from assistance.engine.publisher import Publisher
from assistance.errors import TableUnavailable, Unreadable
from assistance.platform import aws
from assistance.platform.kept_threads import KeptThreads
from assistance.platform.observability import logger
from assistance.platform.unforeseen import without_messages
from assistance.store.items import plain
from assistance.store.requests import deployed
from stream_producer.settings import Settings

_PARALLEL: Final = 10


publisher = cache(lambda: Publisher(aws.sns(), Settings.read().topic_arn, deployed(Settings.read().table_name)))


def read(by: Publisher, record: dict[str, Any]) -> Outboxed | None:
    """The outbox item in a stream record. None if it can't be read, so that Lambda retries the record."""
    sequence_number = record["dynamodb"]["SequenceNumber"]
    try:
        return by.read(plain(record["dynamodb"].get("NewImage", {})))
    except Unreadable as error:
        logger.error("a stream record holds no outbox entry", sequence_number=sequence_number, wrong=str(error))
    except TableUnavailable as error:
        logger.error("a request can't be read now", sequence_number=sequence_number, error_code=str(error))
    return None


@logger.inject_lambda_context(log_event=False)
@without_messages()
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Publish a batch of stream records. Lambda retries from the first record on that could not be published."""
    # Before the threads begin: each of them would make AWS clients of its own.
    ours = publisher()
    with KeptThreads(_PARALLEL) as pool:
        items = list(pool.map(partial(read, ours), event["Records"]))
    unpublished = ours.publish([item for item in items if item])
    failed = [
        {"itemIdentifier": record["dynamodb"]["SequenceNumber"]}
        for record, item in zip(event["Records"], items, strict=True)
        if item is None or not unpublished.isdisjoint(item.publications)
    ]
    return {"batchItemFailures": failed}
