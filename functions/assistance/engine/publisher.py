"""Publishes the outbox's messages to SNS, then removes their entries. In the other order, a crash would lose them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from assistance.domain import transitions
from assistance.engine.outbox import Outboxed, Publication, outboxed
from assistance.errors import TableUnavailable, Unreadable
from assistance.platform import tracing
from assistance.platform.aws import AWS_ERRORS, SNSClient, error_code
from assistance.platform.clock import epoch_ms, timestamp, utc_now
from assistance.platform.kept_threads import KeptThreads
from assistance.platform.metrics import Metric, Tally
from assistance.platform.observability import logger
from assistance.store import codec
from assistance.store.items import Item
from assistance.store.requests import RequestGone, Requests, Stored, record_key, request_key
from assistance.store.schema import PARTITION_KEY

if TYPE_CHECKING:
    from mypy_boto3_sns.type_defs import PublishBatchRequestEntryTypeDef

# https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html: 10 entries, and 262,144 bytes over all of them.
MAX_BATCH_ENTRIES: Final = 10
MAX_BATCH_BYTES: Final = 262_144
_ATTRIBUTE_BYTES: Final = 256
_PARALLEL: Final = 10


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes the messages of the outbox."""

    sns: SNSClient
    topic_arn: str
    requests: Requests

    def read(self, item: Item) -> Outboxed:
        """The messages to publish for an item that is in the outbox. Raises `Unreadable` or `TableUnavailable`."""
        return outboxed(item, lambda request_id: self.requests.items.get(request_key(request_id)))

    def publish(self, items: Sequence[Outboxed], *, checked_until: str | None = None) -> set[Publication]:
        """Publish the messages of these items, and mark them as published. Returns those that SNS has not accepted.

        `checked_until`: for the reconciler, the time until which it has made all its checks of new requests. If a
        request has a record or is older, this records that the request's first attempts are due from now on, and that
        the reconciler watches it. Otherwise a consumer or the reconciler's next check will compute the record.
        """
        wanted = tuple(dict.fromkeys(each for item in items for each in item.publications))
        requests = [item for item in items if item.stored is None]
        records = {} if checked_until is None else self._records(requests, checked_until)
        with KeptThreads(_PARALLEL) as pool:
            published = {each for batch in pool.map(self._publish_batch, batches(wanted)) for each in batch}
            list(pool.map(partial(self._take_out, published, records), items))
        tally = Tally()
        for each in published:
            for channel in each.channels:
                tally.add(Metric.PUBLISHED, channel=channel, topic=each.message.request.topic)
        tally.emit()
        return set(wanted) - published

    def _publish_batch(self, batch: Sequence[Publication]) -> list[Publication]:
        """Publish up to ten messages. Returns those that SNS accepted."""
        try:
            # The call to SNS has only one trace header.
            traces = {publication.trace for publication in batch}
            with tracing.continuing(traces.pop() if len(traces) == 1 else None):
                answer = self.sns.publish_batch(
                    TopicArn=self.topic_arn,
                    PublishBatchRequestEntries=[_to_sns(str(index), each) for index, each in enumerate(batch)],
                )
        except AWS_ERRORS as error:
            logger.error("publishing failed", error_code=error_code(error), entries=len(batch))
            return []
        named = {str(index): publication for index, publication in enumerate(batch)}
        for failure in answer.get("Failed", []):
            if refused := named.get(failure.get("Id", "")):
                request_id = refused.message.request.id
                logger.error("SNS refused an entry", request_id=request_id, error_code=failure.get("Code"))
        return [named[success["Id"]] for success in answer.get("Successful", []) if success.get("Id") in named]

    def _records(self, late: Sequence[Outboxed], checked_until: str) -> Mapping[str, Item | None]:
        """The record items of these requests, by id. None if `update` must read the record, or compute it."""
        created = {item.key[PARTITION_KEY]: item.publications[0].message.request.created_at for item in late}
        try:
            found = self.requests.items.many(list(map(record_key, created)), consistent=True, whole=True)
        except TableUnavailable:
            return dict.fromkeys(created)
        old = [id_ for id_, created_at in created.items() if created_at < checked_until]
        return dict.fromkeys(old) | {item[PARTITION_KEY]: item for item in found}

    def _take_out(self, published: set[Publication], records: Mapping[str, Item | None], item: Outboxed) -> None:
        done = [each for each in item.publications if each in published]
        if not done:
            return
        request_id, now = item.key[PARTITION_KEY], utc_now()
        try:
            if item.stored is not None:
                entries = [each.entry for each in done if each.entry]
                event = partial(transitions.published, entries=entries, now=epoch_ms(now))
                self.requests.update(request_id, event, item.stored)
                return
            self.requests.items.mark_published(item.key, done[0].channels, timestamp(now))
            if request_id in records:
                known = Stored(codec.record_of(record), record) if (record := records[request_id]) else None
                queued = partial(transitions.queued, names=done[0].channels, now=epoch_ms(now))
                self.requests.update(request_id, lambda record: transitions.watch(queued(record)), known)
        except (TableUnavailable, Unreadable, RequestGone) as error:
            logger.warning("published but not marked", request_id=request_id, error_type=type(error).__name__)


def _to_sns(entry_id: str, publication: Publication) -> "PublishBatchRequestEntryTypeDef":
    # A String.Array attribute is a JSON list; each channel's filter policy matches the element that names it.
    channels = ",".join(f'"{channel}"' for channel in publication.channels)
    return {
        "Id": entry_id,
        "Message": publication.message.json_text(),
        "MessageAttributes": {
            "channels": {"DataType": "String.Array", "StringValue": f"[{channels}]"},
            "topic": {"DataType": "String", "StringValue": publication.message.request.topic},
        },
    }


def batches(publications: Iterable[Publication]) -> Iterator[list[Publication]]:
    """Divide the messages, in their order, into batches as large as SNS allows."""
    batch: list[Publication] = []
    batch_bytes = 0
    for publication in publications:
        entry_bytes = len(publication.message.json_text()) + _ATTRIBUTE_BYTES
        full = len(batch) == MAX_BATCH_ENTRIES or batch_bytes + entry_bytes > MAX_BATCH_BYTES
        if batch and full:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(publication)
        batch_bytes += entry_bytes
    if batch:
        yield batch
