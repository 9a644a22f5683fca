"""Tests that slow receivers delay other bots' callbacks by a limited time, and that none of their callbacks is lost.

The consumer, its retries and its items are the real ones, on moto. The queue is a list, and receivers use simulated
time.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import combinations_with_replacement, count
from typing import Any, Final

import pytest
from uuid6 import uuid7

from assistance.domain.record import Outcome
from assistance.engine.delivery import Consumer
from assistance.errors import TransientFailure
from assistance.models import Outgoing
from assistance.platform.clock import utc_now
from assistance.routing import CALLBACK, Channel
from assistance.store.requests import Requests
from assistance.store.table import Items
from callback_consumer import handler
from callback_consumer.egress import CONNECT_SECONDS, DEADLINE_SECONDS, Answer
from callback_consumer.receivers import BURST_SECONDS, PROMPT_SECONDS, SHARE, Receivers
from infra.batches import QUEUES
from infra.config import QUEUE_RETENTION_DAYS, Config
from infra.retries import RETRIES
from tests.integration.cloud import Cloud, Context
from tests.records import delivery_of
from tests.simulated import Time

INSTANCES: Final = Config().consumer_max_concurrency
PROMPT: Final = 0.05
"""Seconds that a receiver with a host named `good` takes to answer."""
DARK: Final = [f"https://dark{number}.example.com/" for number in range(5)]
GOOD: Final = [f"https://good{number}.example.com/" for number in range(20)]
DAY: Final = 86_400
TEMPLATE_URL: Final = "https://template.example.com/"


def no_connection(time: Time, _: str) -> Answer:
    time.elapse(CONNECT_SECONDS)
    raise TransientFailure("timeout")


def no_answer(time: Time, _: str) -> Answer:
    time.elapse(DEADLINE_SECONDS)
    raise TransientFailure("timeout", in_doubt=True)


def late_answer(time: Time, _: str) -> Answer:
    time.elapse(DEADLINE_SECONDS - 0.5)
    return Answer(200, {})


@dataclass
class Message:
    """A message in the simulated queue."""

    record: dict[str, Any]
    visible_at: float
    receives: int = 0


@dataclass
class Queue:
    """SQS, with the operations that the consumer and its event source use."""

    time: Time
    messages: dict[str, Message] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)

    def put(self, record: dict[str, Any]) -> None:
        self.messages[record["messageId"]] = Message(record, self.time.now)

    def receive(self, most: int) -> list[dict[str, Any]]:
        visible = [message for message in self.messages.values() if message.visible_at <= self.time.now]
        batch = sorted(visible, key=lambda message: message.visible_at)[:most]
        for message in batch:
            message.receives += 1
            message.visible_at = self.time.now + 6 * Config().consumer_timeout_seconds
            message.record["attributes"] |= {"ApproximateReceiveCount": str(message.receives)}
        return [message.record for message in batch]

    def settle(self, batch: Sequence[dict[str, Any]], answer: dict[str, Any]) -> None:
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for record in batch:
            if record["messageId"] not in failed:
                del self.messages[record["messageId"]]

    def change_message_visibility(self, *, ReceiptHandle: str, VisibilityTimeout: int, **_: object) -> None:  # noqa: N803
        self.messages[ReceiptHandle].visible_at = self.time.now + VisibilityTimeout

    def send_message(self, *, MessageBody: str, **_: object) -> None:  # noqa: N803
        self.dead.append(MessageBody)


@dataclass
class Deployed:
    """The queue, the Lambda instances of the callback consumer, and the receivers that they call."""

    template: list[dict[str, Any]]
    record: dict[str, Any]
    stack: Cloud
    batch_size: int = QUEUES[CALLBACK].size
    receive: Callable[[Time, str], Answer] = no_connection
    """Answers for a receiver whose host is not named `good`: takes the time and the URL."""
    jitter: Callable[[float, float], float] = lambda _, most: most / 2
    time: Time = field(default_factory=Time)
    began: datetime = field(default_factory=utc_now)
    calls: list[tuple[int, str, float]] = field(default_factory=list)
    """For each call, the number of the instance, the URL, and the simulated time in seconds."""
    told: dict[str, float] = field(default_factory=dict)
    """For each URL, when its receiver answered the callback."""
    held: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    """For each instance, from when to when a batch with slow receivers held it up."""
    numbers: Iterator[int] = field(default_factory=count)
    arriving_until: float = 0
    ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = Queue(self.time)

    def put(self, urls: Iterable[str]) -> None:
        """Add a callback to the queue for each URL, as if its request had just finished."""
        for url in urls:
            id_, handle = str(uuid7()), f"message {next(self.numbers)}"
            self.ids.append(id_)
            for item in self.template:
                callback = {"callback_url": url} if item["sk"] == "REQUEST" else {}
                self.stack.table.put_item(Item=item | {"pk": id_} | callback)
            body = self.record["body"].replace(self.template[0]["pk"], id_).replace(TEMPLATE_URL, url)
            attributes = dict(self.record["attributes"])
            message = {"messageId": handle, "receiptHandle": handle, "body": body, "attributes": attributes}
            self.queue.put(self.record | message)

    def clock(self) -> datetime:
        return self.began + timedelta(seconds=self.time.now)

    def instance(self, number: int, until: float) -> None:
        """Let a Lambda instance handle batch after batch, until the queue stays empty or the time `until` has come."""
        receivers = Receivers(clock=self.clock)

        def send(outgoing: Outgoing) -> str:
            return handler.call_back(outgoing, receivers, partial(self._post, number))

        consumer = Consumer(
            channel=CALLBACK, send=send, requests=Requests(Items(self.stack.table), self.clock), sqs=self.queue,  # type: ignore[arg-type]
            queue_url="queue", dlq_url="dlq", retry=RETRIES[CALLBACK], clock=self.clock,
            jitter=self.jitter, pool=self.time.threads,
        )  # fmt: skip
        while self.time.now < until and (self.queue.messages or self.time.now < self.arriving_until):
            batch, began = self.queue.receive(self.batch_size), self.time.now
            if not batch:
                self.time.elapse(self._until_the_next())
                continue
            self.queue.settle(batch, consumer.handle({"Records": batch}, Context()))  # type: ignore[arg-type]
            if self.time.now - began > PROMPT_SECONDS:
                self.held.setdefault(number, []).append((began, self.time.now))

    def _until_the_next(self) -> float:
        due = min((message.visible_at for message in self.queue.messages.values()), default=0)
        return max(0.1, due - self.time.now) if self.time.now >= self.arriving_until else 0.1

    def _post(self, number: int, url: str, *_: object) -> Answer:
        self.calls.append((number, url, self.time.now))
        if url.startswith("https://good"):
            self.time.elapse(PROMPT)
            answer = Answer(204, {})
        else:
            answer = self.receive(self.time, url)
        assert url not in self.told, "it was told twice"
        self.told[url] = self.time.now
        return answer

    def outcomes(self) -> set[Outcome | None]:
        """Return the outcomes of the callbacks."""
        return {delivery_of(self.stack.table, id_, "callback-1").final for id_ in self.ids}

    def run(self, until: float = 4 * DAY) -> None:
        for number in range(INSTANCES):
            self.time.spawn(partial(self.instance, number, until))
        self.time.run()

    def arrive(self, urls: Sequence[str], every: float, first: float = 0) -> None:
        """Put callbacks into the queue at intervals of `every` seconds, beginning after `first` seconds."""

        def arriving() -> None:
            self.time.elapse(first)
            for url in urls:
                self.put([url])
                self.time.elapse(every)

        self.arriving_until = max(self.arriving_until, self.time.now + first + len(urls) * every)
        self.time.spawn(arriving)


@pytest.fixture
def deployed(stack: Cloud) -> Deployed:
    """A system with one finished request, of which `put` makes copies with other callback URLs."""
    request_id = stack.post("sales", callback_url=TEMPLATE_URL)
    stack.produce()
    stack.consume(Channel.SLACK)
    stack.produce()
    [record] = stack.receive(CALLBACK)
    items = [item for item in stack.table.scan()["Items"] if item["pk"] == request_id]
    return Deployed(items, record, stack)


def several(hosts: Sequence[str], each: int) -> list[str]:
    """`each` callback URLs for each host. The hosts alternate."""
    return [f"{host}{number}" for number in range(each) for host in hosts]


@pytest.mark.parametrize("batch_size", [len(DARK), QUEUES[CALLBACK].size])
@pytest.mark.parametrize(
    ("receive", "takes"),
    [(no_connection, CONNECT_SECONDS), (no_answer, DEADLINE_SECONDS), (late_answer, DEADLINE_SECONDS)],
)
def test_callbacks_to_twenty_fast_hosts_wait_at_most_for_one_callback_to_each_of_five_unresponsive_hosts(
    deployed: Deployed, receive: Callable[[Time, str], Answer], takes: float, batch_size: int
) -> None:
    deployed.receive, deployed.batch_size = receive, batch_size
    deployed.put([*several(DARK, 9), *GOOD])
    deployed.run(until=takes + 1)
    assert set(GOOD) <= deployed.told.keys()


def test_fast_hosts_get_at_least_half_of_the_sending_time_with_any_number_of_unresponsive_hosts(
    deployed: Deployed,
) -> None:
    """Each unresponsive callback has a host of its own, as a bot with wildcard DNS could send them."""
    deployed.receive, silent = no_answer, [f"https://any{number}.example.com/" for number in range(25)]
    good = several(["https://good.example.com/"], 30)
    deployed.arrive(good, every=2)
    deployed.arrive(silent, every=1, first=10)
    deployed.run(until=150)
    assert set(good) <= deployed.told.keys()
    for held in deployed.held.values():
        for (first, _), (_, last) in combinations_with_replacement(held, 2):
            slow = sum(end - begin for begin, end in held if first <= begin and end <= last)
            assert slow <= BURST_SECONDS + SHARE * (last - first) + DEADLINE_SECONDS
    assert {url for _, url, _ in deployed.calls} >= set(silent), "nobody is shut out for good"


def test_postponed_callbacks_finish_within_the_queues_retention_and_arrive_once_if_the_host_recovers(
    deployed: Deployed,
) -> None:
    back, gone = several(DARK[:1], 4), several(DARK[1:], 2)

    def back_after_an_hour(time: Time, url: str) -> Answer:
        return no_connection(time, url) if url in gone or time.now < 3_600 else Answer(204, {})

    deployed.receive = back_after_an_hour
    deployed.jitter = lambda _, most: most
    deployed.put([*back, *gone])
    deployed.run()
    assert not deployed.queue.messages
    assert deployed.time.now < (QUEUE_RETENTION_DAYS - 1) * DAY
    assert deployed.told.keys() == set(back)
    assert len(deployed.queue.dead) == len(gone)
    tries = Counter(url for _, url, _ in deployed.calls)
    assert max(tries.values()) <= RETRIES[CALLBACK].attempts
    assert deployed.outcomes() == {Outcome.DELIVERED, Outcome.FAILED}
