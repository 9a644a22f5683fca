"""`make growth`: measures how the processor time of each step grows if the size of its input is doubled repeatedly.

It writes growth.md and growth.svg. AWS and Slack are simulated as in `warm.py`, and the table is the in-memory table of
the tests. The time of these simulations does not count.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from unittest.mock import patch
from uuid import UUID

from botocore import xform_name

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.platform.clock import epoch_ms, timestamp_of, utc_now
from assistance.platform.dynamodb import noted, plain
from assistance.routing import ROUTES, Topic
from assistance.store import codec
from assistance.store.schema import OUTBOX_SHARD, PROGRESS
from benchmarks import events, fake_services, timing, warm
from benchmarks.chart import Chart, svg, table

if TYPE_CHECKING:
    from tests.memory_table import MemoryTable

Grown: TypeAlias = Mapping[tuple[str, str], Sequence[tuple[int, float]]]

ROUNDS: Final = 5
DOUBLINGS: Final = 4
MINUTE: Final = 60_000
NOTATION: Final = frozenset({"S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"})
LIMIT: Final = 1_000_000
"""The limit of attempts, so high that no consumer gives up."""
LINEAR: Final = 2.2
FLAT: Final = 1.1
"""Limits for the ratio of a size's time to half the size's time: above `LINEAR`, growth is worse than linear, below
`FLAT` there is none.

Linear growth has a ratio of at most 2; medians vary by about a tenth."""
ABOUT: Final = f"""\
The table shows the processor time of an invocation (user and system, all threads together), including botocore's, but
without the time in which the simulated AWS and Slack answer: no socket is opened, and the table is in memory. Each time
is the median of {{}} rounds, and each round measures every size once. **With linear growth, twice as many take at most
twice the time**, and less if an invocation has a constant part. A ratio above {LINEAR} would be worse than linear; one
below {FLAT} means no growth.
A sweep of the reconciler finds requests that are *open* (waiting for their next attempt), *stored* (delivered a day
ago), *due* (their message is lost, so the sweep publishes it again) or *unpublished* (the stream producer has not
published them). Stored requests add no call to a sweep; the small growth there is probably that of the in-memory table,
which each query scans.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """A step to measure: the unit in which its input is counted, and the smallest size.

    `ready` fills the table for a size and returns the function to measure, which is then called `times` times: once for
    a sweep, because it leaves nothing to do. `done` checks the function's answer for the size.
    """

    name: str
    unit: str
    smallest: int
    ready: Callable[[int], Callable[[], Any]]
    done: Callable[[Any, int], bool]
    times: int = 1

    def seconds(self, size: int) -> float:
        """The processor time in seconds of one invocation with that size. Raises `RuntimeError` for a wrong answer."""
        answered: list[Any] = []
        invoke = self.ready(size)
        spent = warm.seconds(lambda: answered.append(invoke()), self.times)
        if not all(self.done(answer, size) for answer in answered):
            raise RuntimeError(f"{self.name} of {size} {self.unit} answered {answered}")
        return spent


class Cloud:
    """Simulates AWS: DynamoDB with an in-memory table, everything else with `fake_services.py`."""

    def __init__(self) -> None:
        from tests.memory_table import MemoryTable  # noqa: PLC0415 # imported after logging is redirected

        self.table = MemoryTable(fake_services.SWEPT_TABLE)
        self._one_at_a_time = Lock()

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[str, bytes]:
        """The answer to a call, like `fake_services.answer`."""
        service, _, operation = headers.get("x-amz-target", "").partition(".")
        if not service.startswith("DynamoDB"):
            return fake_services.answer(path, headers, body)
        with self._one_at_a_time:
            found = getattr(self.table, xform_name(operation))(_decoded(json.loads(body)))
        return "application/x-amz-json-1.0", json.dumps(_encoded(found)).encode()


def _decoded(value: Any) -> Any:  # noqa: ANN401
    """The arguments of a call, with attribute values converted from DynamoDB's notation to Python's types."""
    if isinstance(value, dict):
        if len(value) == 1 and value.keys() <= NOTATION:
            return plain(value)
        return {name: _decoded(part) for name, part in value.items()}
    return [_decoded(part) for part in value] if isinstance(value, list) else value


def _encoded(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer in DynamoDB's notation."""

    def item(found: Mapping[str, Any]) -> dict[str, Any]:
        return {name: noted(value) for name, value in found.items()}

    encode: Mapping[str, Callable[[Any], Any]] = {
        "Item": item,
        "LastEvaluatedKey": item,
        "Items": lambda items: [item(found) for found in items],
        "Responses": lambda tables: {name: [item(found) for found in items] for name, items in tables.items()},
    }
    return {name: encode[name](value) if name in encode else value for name, value in answer.items()}


def _record(created_at: int) -> Record:
    route = ROUTES[Topic.SALES]
    ttl = fake_services.expires(timestamp_of(created_at))
    return transitions.first(Record(Topic.SALES, created_at, ttl, route.channels, route.fallback))


def _tried(record: Record, attempts: int, *, due: int) -> Record:
    """The record after so many failed attempts, a second apart. `due`: when the next is due, Unix time in ms."""
    for number in range(attempts):
        at = record.created_at + 1_000 * number
        record, _ = transitions.claim(record, "slack", str(number), now=at, until=at + MINUTE, limit=LIMIT)
        record = transitions.retry_later(
            record, "slack", str(number), "ratelimited", now=at + 200, in_doubt=False, due=due, settles=0
        )
    return record


def _delivered(record: Record) -> Record:
    at = record.created_at + 1_000
    record, _ = transitions.claim(record, "slack", "attempt", now=at, until=at + MINUTE, limit=LIMIT)
    return transitions.sent(record, "slack", "attempt", "1732000000.000100", now=at + 200)


def _hold(memory: "MemoryTable", number: int, created_at: int, record: Record | None) -> None:
    """Put a request and its record into the table. If the record is None, the request waits in the outbox."""
    item = fake_services.request_item(str(UUID(int=number)), timestamp_of(created_at))
    values = {name: plain(value) for name, value in item.items()}
    if record:
        values = {name: value for name, value in values.items() if name not in {OUTBOX_SHARD, "outbox_channels"}}
        memory.hold(codec.item_of(values["pk"], replace(record, version=1), {}))
    memory.hold(values)


def _swept(published: int = 0, lost: int = 0, opened: int = 0) -> Callable[[Any, int], bool]:
    """Return a check of a sweep's answer: each count is its parameter, 0 or 1, times the number of requests."""

    def done(answer: Any, size: int) -> bool:  # noqa: ANN401
        found = answer["outbox"]["published"], len(answer["ledger"]["lost"]), answer["ledger"]["open"]
        return bool(found == (published * size, lost * size, opened * size))

    return done


def _all_taken(answer: Any, _: int) -> bool:  # noqa: ANN401
    return bool(answer == {"batchItemFailures": []})


def _all_shown(answer: Any, attempts: int) -> bool:  # noqa: ANN401
    [delivery] = json.loads(answer["body"])["deliveries"]
    return bool(delivery["attempts"] == attempts)


def steps(cloud: Cloud) -> list[Step]:
    """All steps to measure. The functions are imported here, because they read their environment at import."""
    import api.handler  # noqa: PLC0415
    import email_consumer.handler  # noqa: PLC0415
    import reconciler.handler  # noqa: PLC0415
    import slack_consumer.handler  # noqa: PLC0415
    import stream_producer.handler  # noqa: PLC0415

    context: Any = warm.Context()
    now = epoch_ms(utc_now())
    hour_ago, yesterday = now - 60 * MINUTE, now - 24 * 60 * MINUTE
    delivered = _delivered(_record(yesterday))

    def emptied(handler: Callable[..., Any], event: Callable[[int], Any], count: int) -> Callable[[], Any]:
        cloud.table.clear()
        return partial(handler, event(count), context)

    def read(attempts: int) -> Callable[[], Any]:
        cloud.table.clear()
        _hold(cloud.table, 0, hour_ago, _tried(_record(hour_ago), attempts, due=now + MINUTE))
        return partial(api.handler.lambda_handler, events.read(), context)

    def published(records: int) -> Callable[[], Any]:
        cloud.table.clear()
        for number in range(records):
            _hold(cloud.table, number, now, None)
        return partial(stream_producer.handler.lambda_handler, events.stream(records), context)

    def swept(created_at: int, record: Record | None, count: int) -> Callable[[], Any]:
        cloud.table.clear()
        # An earlier sweep has checked the requests that have a record.
        until = timestamp_of(now - MINUTE if record else created_at - MINUTE)
        cloud.table.hold({"pk": PROGRESS, "sk": PROGRESS, "looked_until": until, "damaged": []})
        for number in range(count):
            _hold(cloud.table, number, created_at, record)
        return partial(reconciler.handler.lambda_handler, {}, context)

    def waiting(due: int) -> Record:
        return transitions.watch(_tried(_record(hour_ago), 1, due=due))

    slack = partial(emptied, slack_consumer.handler.lambda_handler, partial(events.queue, Topic.SALES))
    email = partial(emptied, email_consumer.handler.lambda_handler, partial(events.queue, Topic.PRICING))
    return [
        Step("read", "attempts", 8, read, _all_shown, times=20),
        Step("publish", "records", 25, published, _all_taken),
        Step("consume", "messages, Slack", 10, slack, _all_taken),
        Step("consume", "messages, email", 10, email, _all_taken),
        Step("sweep", "open", 50, partial(swept, hour_ago, waiting(now + 60 * MINUTE)), _swept(opened=1)),
        Step("sweep", "stored", 50, partial(swept, yesterday, delivered), _swept()),
        Step("sweep", "due", 25, partial(swept, hour_ago, waiting(now - 30 * MINUTE)), _swept(opened=1, lost=1)),
        Step("sweep", "unpublished", 25, partial(swept, hour_ago, None), _swept(published=1, opened=1)),
    ]


def measured(rounds: int, doublings: int, divisor: int = 1) -> Grown:
    """Measure all steps. Returns for each step and unit the sizes and their median seconds over the rounds.

    `doublings`: how often the smallest size is doubled. `divisor`: divides the smallest sizes, to make tests faster.
    """
    with warm.no_network(), redirect_stdout(warm.Discard()):
        cloud = Cloud()
        with patch("benchmarks.warm.answer", cloud.answer):
            found = {(step.name, step.unit): step for step in steps(cloud)}
            sizes = {
                key: [max(step.smallest // divisor, 1) * 2**number for number in range(doublings + 1)]
                for key, step in found.items()
            }
            turns = {(key, size): partial(found[key].seconds, size) for key, each in sizes.items() for size in each}
            samples = timing.in_turns(turns, rounds)
    return {key: [(size, median(samples[key, size])) for size in each] for key, each in sizes.items()}


def page(grown: Grown, rounds: int) -> str:
    """The page with these sizes and medians, as Markdown. `rounds`: how many the page says were measured."""
    rows = []
    for (name, unit), points in grown.items():
        (first, least), *_, (last, most) = points
        ratios = [later / earlier for (_, earlier), (_, later) in pairwise(points)]
        each = (most - least) / (last - first)
        rows += [
            [f"**{name}**, {unit}", *(f"{size:,}" for size, _ in points), ""],
            [
                "processor time, ms",
                *(f"{seconds * 1e3:,.1f}" for _, seconds in points),
                f"{each * 1e3:.2f} for each more",
            ],
            ["time / time of half as many", "", *(f"{ratio:.2f}" for ratio in ratios), growth(ratios)],
        ]
    width = len(next(iter(grown.values())))
    heads = ["", *[f"{2**number}-fold" for number in range(width)], ""]
    return "\n\n".join((ABOUT.format(rounds), table(heads, rows), "![The same figures as a chart](growth.svg)"))


def growth(ratios: Sequence[float]) -> str:
    """The growth in words. `ratios`: for each size but the smallest, the time divided by that for half the size."""
    middle = median(ratios)
    if middle > LINEAR:
        return "worse than linear"
    return "none" if middle < FLAT else "at most linear"


def charts(grown: Grown) -> list[Chart]:
    """Draw a chart for each step: its processor time against the size of its input, with a line for each unit."""
    panels = []
    for step in dict.fromkeys(name for name, _ in grown):
        lines = {unit: [(n, s * 1e3) for n, s in points] for (name, unit), points in grown.items() if name == step}
        panels.append(Chart(step, "how many", "CPU time, ms", lines))
    return panels


def main() -> None:
    """Measure, and write growth.md and its chart, growth.svg."""
    grown = measured(ROUNDS, DOUBLINGS)
    (timing.HERE / "growth.svg").write_text(svg(charts(grown)), "utf-8")
    timing.write(
        "growth.md", "# How it grows", f"Written by `make growth`. {timing.when_and_where()}", page(grown, ROUNDS)
    )


if __name__ == "__main__":
    main()
