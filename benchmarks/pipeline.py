"""A discrete-event simulation of the pipeline: bots, API Gateway, table, stream producer, and channels with consumers.

It moves cohorts: requests that were sent at the same moment and have the same history. A queue returns the oldest
cohorts first, and splits them so that batches have their real size. At high rates, several Lambda processes of a step
are simulated as one that processes several batches. Nothing else is simplified, and no request appears or disappears.
"""

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeAlias

import simpy

from assistance.domain.transitions import Claim
from assistance.engine.decisions import PutOff, RetryLater, decide
from assistance.errors import DeliveryError, RateLimited, TransientFailure
from assistance.routing import Channel, RetryPolicy

Process: TypeAlias = Generator[simpy.Event, object, None]
LATE_SECONDS: Final = 900
"""Of the time by which an attempt comes late, only this much counts in a rate limit's hour: decision 0094."""
IN_FLIGHT: Final = 120_000
"""The maximum number of messages of a queue that are received but not deleted:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""
OTHER: Final = {Channel.SLACK: Channel.EMAIL, Channel.EMAIL: Channel.SLACK}


@dataclass(slots=True)
class Cohort:
    """`count` requests with the same history. `born`: the time of the bots' calls, in seconds."""

    born: float
    count: int
    channel: Channel | None = None
    fallback: bool = False
    receives: int = 0
    attempts: int = 0
    due: float = math.inf
    """When the next attempt is due. Infinite before the first attempt, which is never late."""
    limited_since: float | None = None
    """Since when a rate limit has refused all attempts, moved on by late ones; None if the last one was not refused."""

    def part(self, count: int) -> "Cohort":
        """A new cohort with `count` of these requests. This cohort keeps its own count."""
        return Cohort(
            self.born, count, self.channel, self.fallback, self.receives, self.attempts, self.due, self.limited_since
        )


class Queue:
    """A queue of cohorts, which are groups of requests with the same history, in the order of their arrival."""

    def __init__(self, env: simpy.Environment) -> None:
        self.size = 0
        self._env = env
        self._cohorts: deque[Cohort] = deque()
        self._waiting: list[tuple[int, simpy.Event]] = []

    def put(self, cohort: Cohort) -> None:
        """Add a cohort, and wake the first process that waits for no more requests than the queue now has."""
        if not cohort.count:
            return
        self._cohorts.append(cohort)
        self.size += cohort.count
        self._wake()

    def take(self, most: int) -> list[Cohort]:
        """Remove and return the oldest requests, at most `most`."""
        taken: list[Cohort] = []
        while most and self._cohorts:
            cohort = self._cohorts[0]
            if cohort.count > most:
                taken.append(cohort.part(most))
                cohort.count -= most
                self.size -= most
                break
            taken.append(self._cohorts.popleft())
            most -= cohort.count
            self.size -= cohort.count
        self._wake()
        return taken

    def _wake(self) -> None:
        for index, (wanted, event) in enumerate(self._waiting):
            if self.size >= wanted:
                del self._waiting[index]
                event.succeed()
                return

    def forget(self, event: simpy.Event) -> None:
        """Remove an event that no process waits for any more."""
        self._waiting = [one for one in self._waiting if one[1] is not event]

    def reaches(self, size: int) -> simpy.Event:
        """An event that occurs when the queue has at least `size` requests."""
        event = self._env.event()
        if self.size >= size:
            event.succeed()
        else:
            self._waiting.append((size, event))
        return event


class Bucket:
    """A token bucket: https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._tokens, self._at = rate, burst, burst, 0.0

    def take(self, wanted: int, now: float) -> int:
        """Take the wanted tokens, or as many as there are at the time `now`. Returns the number taken."""
        self._tokens = min(self._burst, self._tokens + self._rate * (now - self._at))
        self._at = now
        granted = min(wanted, int(self._tokens + 1e-9))
        self._tokens -= granted
        return granted


class Delays:
    """A histogram of the times that requests took, with buckets 5 % wide."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float, count: int) -> None:
        """Count so many requests that took so many seconds."""
        self._counts[math.ceil(math.log(max(seconds, 1e-3), 1.05))] += count

    def quantile(self, share: float) -> float:
        """The quantile of the times: this share of the requests took no longer. 0 without requests."""
        left = share * self._counts.total()
        for bucket in sorted(self._counts):
            left -= self._counts[bucket]
            if left <= 0:
                return 1.05**bucket
        return 0


@dataclass(frozen=True, slots=True)
class Sender:
    """The parameters of a channel: its event source, its consumer and its provider. Times are in seconds."""

    workers: int
    """How many batches are processed at once: the event source's maximum concurrency."""
    batch: int
    rate: float
    """How many messages a second the provider accepts."""
    latency: float
    """The seconds until the provider answers."""
    window: float = 0
    pollers: int = 5
    """How many connections of Lambda collect batches; at first five:
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""
    burst: float = 1
    together: int = 1
    """The maximum number of requests in one message."""
    overhead: float = 0.05
    per_record: float = 0.02
    retry_after: float = 1
    """The seconds for which the provider asks to wait when it refuses a message because of its rate limit."""
    patience: float = 0
    """How many seconds in total a consumer waits and tries again, before it returns refused requests to the queue."""
    outage: tuple[float, float] | None = None
    """The simulated times, in seconds, between which the provider does not answer; None without an outage."""


@dataclass(frozen=True, slots=True)
class Design:
    """The parameters of the simulation: our settings, the account's quotas, and the durations in seconds."""

    slack: Sender
    email: Sender
    accept_rate: float
    """How many calls a second API Gateway, the table and its indexes can handle: the smallest of their limits."""
    accept_burst: float
    accept_latency: float
    publishers: int
    """How many batches of stream records are processed at once: shards times parallelization factor."""
    publish_batch: int
    publish_overhead: float
    publish_per_record: float
    stream_delay: float = 0.2
    queue_delay: float = 0.1
    sales: float = 0.5
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    accept_workers: int | None = None
    """How many calls the API processes at once, each for `accept_latency`; None if there is no limit."""
    tick: float = 1
    """The interval, in seconds, at which bots send their calls."""
    cores: int | None = None
    """For one machine: the number of cores that all computing shares. None for AWS, where nothing is shared."""
    accept_work: float = 0
    """The CPU seconds to accept a request; used only if `accept_workers` is set."""


@dataclass(slots=True)
class Report:
    """The results of a simulation, in numbers of requests."""

    arrived: int = 0
    accepted: int = 0
    failed: int = 0
    delivered: Counter[Channel] = field(default_factory=Counter)
    by_fallback: int = 0
    accepting: Delays = field(default_factory=Delays)
    delays: dict[Channel, Delays] = field(default_factory=lambda: {channel: Delays() for channel in OTHER})
    counts: Counter[str] = field(default_factory=Counter)
    """The numbers of units for which AWS charges (calls, milliseconds, writes, batches), and of attempts and posts."""
    backlog: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    last_delivery: float = 0


class _Channel:
    """The state of a channel during the simulation."""

    def __init__(self, env: simpy.Environment, name: Channel, sender: Sender) -> None:
        self.name, self.sender = name, sender
        self.queue = Queue(env)
        self.hidden = self.held = self.gathering = 0
        self.slots = simpy.Resource(env, max(1, sender.workers // _group(sender.workers)))
        self.bucket = Bucket(sender.rate, max(sender.burst, 1))

    @property
    def waiting(self) -> int:
        """How many requests wait in this channel: in the queue, hidden until a retry, or in a consumer."""
        return self.queue.size + self.hidden + self.held

    def down(self, now: float) -> bool:
        """Whether the provider is in its outage at that time."""
        return self.sender.outage is not None and self.sender.outage[0] <= now < self.sender.outage[1]


def _group(workers: int) -> int:
    """How many Lambda processes are simulated as one, so that at most about eight are simulated."""
    return max(1, workers // 8)


class Pipeline:
    """The simulation. `load`: the calls a second that bots make at a time.

    `sample`: seconds between two samples of how many requests wait where; 0 means no samples.
    """

    def __init__(self, design: Design, load: Callable[[float], float], *, seed: int = 1, sample: float = 60) -> None:
        self.design, self.load, self.sample = design, load, sample
        self.env = simpy.Environment()
        self.random = random.Random(seed)  # noqa: S311 # reproducible, and no secret
        self.report = Report()
        self.bots, self.outbox = Queue(self.env), Queue(self.env)
        self.moving = 0
        """How many requests are between two queues."""
        self.channels = {
            Channel.SLACK: _Channel(self.env, Channel.SLACK, design.slack),
            Channel.EMAIL: _Channel(self.env, Channel.EMAIL, design.email),
        }
        self._gate = Bucket(design.accept_rate, max(design.accept_burst, design.accept_rate * design.tick))
        self._carry: dict[str, float] = {}
        self._cores = simpy.Resource(self.env, design.cores) if design.cores else None

    @property
    def waiting(self) -> int:
        """How many accepted requests have not ended."""
        return self.outbox.size + self.moving + sum(channel.waiting for channel in self.channels.values())

    def run(self, seconds: float) -> Report:
        """Simulate so many seconds, and return the results."""
        self.env.process(self._arrivals())
        if self.design.accept_workers:
            for _ in range(self.design.accept_workers):
                self.env.process(self._accept_one_by_one())
        group = _group(self.design.publishers)
        for _ in range(max(1, self.design.publishers // group)):
            self.env.process(self._publish(group))
        for channel in self.channels.values():
            sender = channel.sender
            for _ in range(min(max(sender.pollers, sender.workers), 8)):
                self.env.process(self._consume(channel, _group(sender.workers)))
        self.env.process(self._watch())
        self.env.run(until=seconds)
        return self.report

    def _whole(self, name: str, count: float) -> int:
        """Round down to a whole number of requests; the remainder is added to the next call with this name."""
        exact = count + self._carry.get(name, 0)
        whole = math.floor(exact + 1e-9)
        self._carry[name] = exact - whole
        return whole

    def _work(self, seconds: float) -> Process:
        """Compute for so many seconds, once a core is free if the number of cores is limited."""
        if self._cores is None:
            yield self.env.timeout(seconds)
            return
        with self._cores.request() as core:
            yield core
            yield self.env.timeout(seconds)

    def _after(self, delay: float, then: Callable[[], None]) -> None:
        self.env.timeout(delay).callbacks.append(lambda _: then())

    def _arrivals(self) -> Process:
        tick = self.design.tick
        while True:
            count = self._whole("arrivals", self.load(self.env.now) * tick)
            self.report.arrived += count
            self.bots.put(Cohort(self.env.now, count))
            if not self.design.accept_workers:
                self._admit()
            yield self.env.timeout(tick)

    def _admit(self) -> None:
        """Accept as many calls as the quotas allow. The bots repeat the others, with the same `Idempotency-Key`."""
        for cohort in self.bots.take(self._gate.take(self.bots.size, self.env.now)):
            self._accepted(cohort, self.design.accept_latency)

    def _accept_one_by_one(self) -> Process:
        while True:
            yield self.bots.reaches(1)
            for cohort in self.bots.take(1):
                yield from self._work(self.design.accept_work * self._about())
                yield self.env.timeout(self.design.accept_latency)
                self._accepted(cohort, 0)

    def _accepted(self, cohort: Cohort, latency: float) -> None:
        self.report.accepted += cohort.count
        self.report.accepting.add(self.env.now + latency - cohort.born, cohort.count)
        # Three writes: the request, and its entries in two indexes.
        self.report.counts["api"] += cohort.count
        self.report.counts["api_ms"] += round(1000 * self.design.accept_latency * cohort.count)
        self.report.counts["writes"] += 3 * cohort.count
        self._move(cohort, self.outbox, latency + self.design.stream_delay)

    def _move(self, cohort: Cohort, queue: Queue, delay: float) -> None:
        self.moving += cohort.count

        def arrive() -> None:
            self.moving -= cohort.count
            queue.put(cohort)

        self._after(delay, arrive)

    def _publish(self, group: int) -> Process:
        design = self.design
        while True:
            yield self.outbox.reaches(1)
            cohorts = self.outbox.take(design.publish_batch * group)
            count = sum(cohort.count for cohort in cohorts)
            if not count:
                continue
            self.moving += count
            invocations = math.ceil(count / design.publish_batch)
            took = design.publish_overhead + design.publish_per_record * count / invocations
            yield from self._work(took * self._about())
            self.moving -= count
            counts = self.report.counts
            counts["publish"] += invocations
            counts["publish_ms"] += round(1000 * took * invocations)
            counts["batches"] += math.ceil(count / 10)
            # Two writes: marking the request as published, and removing its entry from the outbox index.
            counts["writes"] += 2 * count
            for cohort in cohorts:
                self._route(cohort)

    def _route(self, cohort: Cohort) -> None:
        sales = cohort.count if cohort.channel is Channel.SLACK else 0
        if cohort.channel is None:
            sales = min(cohort.count, self._whole("sales", cohort.count * self.design.sales))
        for channel, count in ((Channel.SLACK, sales), (Channel.EMAIL, cohort.count - sales)):
            if count:
                part = cohort.part(count)
                part.channel = channel
                self._move(part, self.channels[channel].queue, self.design.queue_delay)

    def _consume(self, channel: _Channel, group: int) -> Process:
        sender, queue = channel.sender, channel.queue
        most = sender.batch * group
        while True:
            yield queue.reaches(1)
            channel.gathering += 1
            if sender.window:
                full = queue.reaches(most * channel.gathering)
                yield full | self.env.timeout(sender.window)
                queue.forget(full)
            share = math.ceil(queue.size / channel.gathering)
            channel.gathering -= 1
            cohorts = queue.take(min(most, share, max(0, IN_FLIGHT - channel.hidden)))
            count = sum(cohort.count for cohort in cohorts)
            if not count:
                yield self.env.timeout(0.1)
                continue
            channel.held += count
            with channel.slots.request() as slot:
                yield slot
                yield from self._attempt(channel, cohorts, math.ceil(count / sender.batch))

    def _attempt(self, channel: _Channel, cohorts: Sequence[Cohort], invocations: int) -> Process:
        sender, started = channel.sender, self.env.now
        count = sum(cohort.count for cohort in cohorts)
        for cohort in cohorts:
            cohort.receives += 1
            if cohort.limited_since is not None:
                cohort.limited_since += max(0, started - cohort.due - LATE_SECONDS)
        yield from self._work((sender.overhead + sender.per_record * count / invocations) * self._about())
        messages = [list(cohorts)] if sender.together == 1 else list(_divide(cohorts, sender.together))
        taken: list[Cohort] = []
        deadline, down = self.env.now + sender.patience, channel.down(self.env.now)
        if down:
            # The provider does not answer, so it refuses nothing either: each attempt fails.
            taken, messages = list(cohorts), []
        while True:
            messages = [left for message in messages if (left := self._offer(channel, message, taken))]
            if not messages or self.env.now + sender.retry_after > deadline:
                break
            yield self.env.timeout(sender.retry_after * self.random.uniform(1, 1.05))
        yield self.env.timeout(sender.latency * self._about())
        channel.held -= count
        took, counts = self.env.now - started, self.report.counts
        counts[channel.name] += invocations
        counts[f"{channel.name}_ms"] += round(1000 * took * invocations)
        # Two writes: the claim and the outcome.
        counts["writes"] += 2 * count
        counts[f"{channel.name}_attempts"] += count
        for cohort in taken:
            if down:
                self._failed(channel, cohort, TransientFailure("timeout", in_doubt=True))
            else:
                self._delivered(channel, cohort)
        for cohort in (cohort for message in messages for cohort in message):
            self._failed(channel, cohort, RateLimited("ratelimited", retry_after=sender.retry_after))

    def _offer(self, channel: _Channel, message: list[Cohort], taken: list[Cohort]) -> list[Cohort]:
        """Send one message with these requests or, if the channel's `together` is 1, a message for each request.

        Adds accepted requests to `taken`. Returns the requests that the provider's rate limit refuses.
        """
        if channel.sender.together > 1:
            granted = channel.bucket.take(1, self.env.now)
            self.report.counts["posts"] += granted
            taken += message if granted else []
            return [] if granted else message
        granted = channel.bucket.take(sum(cohort.count for cohort in message), self.env.now)
        refused: list[Cohort] = []
        for cohort in message:
            some = min(granted, cohort.count)
            granted -= some
            if some:
                taken.append(cohort.part(some))
            if cohort.count > some:
                refused.append(cohort.part(cohort.count - some))
        return refused

    def _about(self) -> float:
        """A random factor near 1 for durations, because no two calls take exactly the same time."""
        return self.random.uniform(0.8, 1.2)

    def _delivered(self, channel: _Channel, cohort: Cohort) -> None:
        self.report.delivered[channel.name] += cohort.count
        self.report.by_fallback += cohort.count if cohort.fallback else 0
        self.report.delays[channel.name].add(self.env.now - cohort.born, cohort.count)
        self.report.last_delivery = self.env.now

    def _failed(self, channel: _Channel, cohort: Cohort, error: DeliveryError) -> None:
        """After a failed attempt of each request, decide as the consumer does: retry, use the fallback, or fail."""
        now = self.env.now
        limited_since = now if cohort.limited_since is None else cohort.limited_since
        decision = decide(
            error,
            Claim(cohort.attempts + 1, doubts=()),
            self.design.retry,
            waited=timedelta(seconds=now - limited_since),
            receives=cohort.receives,
            sends_batches=channel.sender.together > 1,
            jitter=self.random.uniform,
        )
        cohort.limited_since = limited_since if isinstance(error, RateLimited) else None
        match decision:
            case PutOff(delay=delay):
                self._requeue(channel, cohort, delay)
            case RetryLater(delay=delay):
                cohort.attempts += 1
                self._requeue(channel, cohort, delay)
            case _ if cohort.fallback:
                self.report.failed += cohort.count
            case _:
                again = Cohort(cohort.born, cohort.count, OTHER[channel.name], fallback=True)
                self._move(again, self.outbox, self.design.stream_delay)

    def _requeue(self, channel: _Channel, cohort: Cohort, delay: float) -> None:
        channel.hidden += cohort.count
        cohort.due = self.env.now + delay

        def seen() -> None:
            channel.hidden -= cohort.count
            channel.queue.put(cohort)

        self._after(delay, seen)

    def _watch(self) -> Process:
        while self.sample:
            for name, count in (
                ("bots", self.bots.size),
                ("outbox", self.outbox.size),
                *((str(name), channel.waiting) for name, channel in self.channels.items()),
            ):
                self.report.backlog.setdefault(name, []).append((self.env.now, count))
            yield self.env.timeout(self.sample)


def _divide(cohorts: Sequence[Cohort], together: int) -> Iterator[list[Cohort]]:
    """Divide requests into messages of at most `together` requests."""
    message: list[Cohort] = []
    room = together
    for cohort in cohorts:
        left = cohort.count
        while left:
            some = min(left, room)
            message.append(cohort.part(some))
            left, room = left - some, room - some
            if not room:
                yield message
                message, room = [], together
    if message:
        yield message
