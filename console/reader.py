"""Reads the data for the console's page from the stage's table and queues."""

import json
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Final

from assistance.engine.dead_letters import depth
from assistance.history import RequestRecord
from assistance.routing import CALLBACK, Destination
from assistance.store.schema import OUTBOX_INDEX
from assistance.text import printable
from cli import render
from cli.stack import DeadLetterQueue, Stack
from console.dead_letters import DeadLetters
from console.history import events, in_outbox, reached, title
from console.search import Query, search

MAX_OUTBOX_COUNT: Final = 1_000
"""Maximum number of outbox entries that are counted, so that a full outbox does not make each poll expensive."""
_SIDE_BY_SIDE: Final = 8


class Reader:
    """Reads a stage's requests, queues and dead letters. `texts`: True to include customers' texts."""

    def __init__(self, stack: Stack, *, texts: bool) -> None:
        self.stack = stack
        self.destinations: tuple[Destination, ...] = (*stack.channels(), CALLBACK)
        self.routes: dict[str, Any] = json.loads(stack.environment("api")["ROUTES"])
        self.dead = DeadLetters(stack, texts=texts)
        self._texts = texts
        self._requests = stack.requests()
        self._sqs = stack.sqs()
        self._lock = threading.Lock()

    def stage(self) -> dict[str, Any]:
        """Return the stage's properties that do not change while the page is open."""
        return {
            "stack": self.stack.name,
            "region": self.stack.session.region_name,
            "texts": self._texts,
            "api_url": self.stack.outputs.get("ApiUrl", ""),
            "routes": self.routes,
            "destinations": [
                {"name": destination, "title": title(destination), "human": destination != CALLBACK}
                for destination in self.destinations
            ],
            "takes": "SlackInteractionsUrl" in self.stack.outputs or "TakeSecretArn" in self.stack.outputs,
        }

    def state(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return counts, dead letters and, in the list view, the requests found. `given`: the URL's parameters."""
        query = Query.of(given)
        with self._lock, ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            queues = pool.map(
                lambda destination: depth(self._sqs, self.stack.queue_url(destination)), self.destinations
            )
            dead_queues = self.stack.dlqs()
            dead = Counter[str]()
            for queue, number in zip(dead_queues, pool.map(self._dead, dead_queues), strict=True):
                dead[queue.channel] += number
            return {
                "outbox": self._outbox(),
                "queues": {
                    destination: {"waiting": found.waiting, "hidden": found.in_flight}
                    for destination, found in zip(self.destinations, queues, strict=True)
                },
                "dead": {destination: dead[destination] for destination in self.destinations},
                "dead_letters": self.dead.document(dead.total()),
                "page": self._page(query) if given.get("view", "list") == "list" else None,
            }

    def newest(self) -> list[dict[str, Any]]:
        """The newest requests, independent of the search in the list."""
        with self._lock:
            found: list[dict[str, Any]] = self._page(Query())["requests"]
            return found

    def request(self, request_id: str) -> dict[str, Any] | None:
        """A request with its history. None if there is no such request."""
        with self._lock:
            record = self._requests.get(request_id)
        if record is None:
            return None
        document = self._request(record)
        return {**document, "events": [asdict(event) for event in events(record)]}

    def _outbox(self) -> int:
        """The number of outbox entries, `MAX_OUTBOX_COUNT` at most.

        The index lists nothing else, so one scan counts them. In order, they would take a query for each shard.
        """
        table = self._requests.items.table
        answer = table.meta.client.scan(
            TableName=table.name, IndexName=OUTBOX_INDEX, Select="COUNT", Limit=MAX_OUTBOX_COUNT
        )
        return answer["Count"]

    def _dead(self, queue: DeadLetterQueue) -> int:
        return depth(self._sqs, queue.url).total

    def _page(self, query: Query) -> dict[str, Any]:
        page = search(self._requests, query, texts=self._texts)
        return {
            "requests": [self._request(record) for record in page.records],
            "unreadable": page.unreadable,
            "next": page.next,
            "searched": page.searched,
            "back_to": page.back_to,
        }

    def _request(self, record: RequestRecord) -> dict[str, Any]:
        document = _printable(render.request_document(record, with_description=self._texts))
        return {
            **document,
            "channels": record.record.channels,
            "in_outbox": in_outbox(record),
            "has_ended": record.record.has_ended,
            "reached": asdict(reached(record)),
        }


def _printable(value: Any) -> Any:  # noqa: ANN401
    """Copy a value, and make invisible and control characters in its strings safe to show."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {name: _printable(each) for name, each in value.items()}
        case list() | tuple():
            return [_printable(each) for each in value]
    return value
