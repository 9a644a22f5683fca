"""From the outbox to SNS: publish entries, then mark them published.

A crash in between publishes an entry twice, which consumers see through; the other order could lose it.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from assistance import tracing
from assistance.aws import AWS_ERRORS, error_code
from assistance.errors import TableUnavailable
from assistance.metrics import Metric, Tally
from assistance.models import Message, OutboxEntry
from assistance.observability import logger
from assistance.requests import Requests

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import PublishBatchRequestEntryTypeDef

# https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html: 10 entries, and 262,144 bytes over all of them.
MAX_BATCH_ENTRIES: Final = 10
MAX_BATCH_BYTES: Final = 262_144
_ATTRIBUTE_BYTES: Final = 256
_PARALLEL: Final = 10


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes outbox entries to the topic."""

    sns: "SNSClient"
    topic_arn: str
    requests: Requests

    def publish(self, entries: Sequence[OutboxEntry]) -> set[OutboxEntry]:
        """Publish the entries and mark those published. Returns those that could not be.

        One that is published but can't be marked counts as published: the reconciler publishes it again and marks it.
        """
        with ThreadPoolExecutor(_PARALLEL) as pool:
            published = [entry for batch in pool.map(self._publish_batch, batches(entries)) for entry in batch]
            list(pool.map(self._mark_published, published))
        tally = Tally()
        for entry in published:
            for channel in entry.channels:
                tally.add(Metric.PUBLISHED, channel=channel, topic=entry.request.topic)
        tally.emit()
        return set(entries) - set(published)

    def _publish_batch(self, batch: Sequence[OutboxEntry]) -> list[OutboxEntry]:
        """Publish up to ten entries. Returns those that SNS took."""
        try:
            with tracing.continuing(_trace(batch)):
                answer = self.sns.publish_batch(
                    TopicArn=self.topic_arn,
                    PublishBatchRequestEntries=[_to_sns(str(index), entry) for index, entry in enumerate(batch)],
                )
        except AWS_ERRORS as error:
            logger.error("publishing failed", error_code=error_code(error), entries=len(batch))
            return []
        named = {str(index): entry for index, entry in enumerate(batch)}
        for failure in answer.get("Failed", []):
            if refused := named.get(failure.get("Id", "")):
                logger.error("SNS refused an entry", request_id=refused.request.id, error_code=failure.get("Code"))
        return [named[success["Id"]] for success in answer.get("Successful", []) if success.get("Id") in named]

    def _mark_published(self, entry: OutboxEntry) -> None:
        try:
            self.requests.mark_published(entry)
        except TableUnavailable as error:
            logger.warning("published but not marked", request_id=entry.request.id, error_code=str(error))


def _body(entry: OutboxEntry) -> str:
    # Escaped to ASCII: SQS refuses some of the characters that a customer may type (U+FFFE, most control characters).
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    ended = f"{entry.ended}#{entry.ended_as}" if entry.ended else None
    ended_at = entry.since if entry.ended else None
    message = Message(request=entry.request, fallback=entry.fallback, ended_at=ended_at, ended=ended)
    return message.model_dump_json(ensure_ascii=True)


def _to_sns(entry_id: str, entry: OutboxEntry) -> "PublishBatchRequestEntryTypeDef":
    # A String.Array attribute is a JSON list; each channel's filter policy matches the element that names it.
    channels = ",".join(f'"{channel}"' for channel in entry.channels)
    return {
        "Id": entry_id,
        "Message": _body(entry),
        "MessageAttributes": {
            "channels": {"DataType": "String.Array", "StringValue": f"[{channels}]"},
            "topic": {"DataType": "String", "StringValue": entry.request.topic},
        },
    }


def _trace(batch: Sequence[OutboxEntry]) -> str | None:
    """The trace that all of a batch is part of. There is one header for the whole call, and none of one's own."""
    first, *others = {entry.trace for entry in batch}
    return None if others else first


def batches(entries: Iterable[OutboxEntry]) -> Iterator[list[OutboxEntry]]:
    """The entries in order, cut where SNS's limits on a batch want it, and nowhere else."""
    batch: list[OutboxEntry] = []
    batch_bytes = 0
    for entry in entries:
        entry_bytes = len(_body(entry)) + _ATTRIBUTE_BYTES
        full = len(batch) == MAX_BATCH_ENTRIES or batch_bytes + entry_bytes > MAX_BATCH_BYTES
        if batch and full:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(entry)
        batch_bytes += entry_bytes
    if batch:
        yield batch
