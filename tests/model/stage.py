"""One request, stored and queued in AWS in memory, with a clock that the test moves."""

import importlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Final
from unittest.mock import patch

from assistance.domain import transitions
from assistance.domain.record import Record
from assistance.engine.dead_letters import unwrapped
from assistance.history import RequestRecord
from assistance.routing import Destination
from tests.faults.aws import Memory
from tests.faults.system import START, requests
from tests.faults.world import World as System
from tests.integration.cloud import RETENTION
from tests.memory_queues import Held

TICK_MS: Final = 10
OVERDUE_MS: Final = 1_000


class Stage:
    """The stored request, its queue messages, and the time."""

    def __init__(self, system: System, aws: Memory, topic: str, *, calls_back: bool) -> None:
        """Empty the system, and accept a request with that topic. `calls_back`: it has a callback URL."""
        self.system = system
        self._aws = aws
        self._in_flight = set[str]()
        self._passed_ms, self._read_at = 0, -1
        self._read: RequestRecord | None = None
        system.reset()
        system.calls_back = calls_back
        self.id = system.accept_for_sure(topic, "words", "key")
        # So much time that the next reconciler run checks the request.
        self.pass_by(60_000)

    @property
    def now(self) -> int:
        """The current time, in milliseconds since 1970."""
        return int(START.timestamp() * 1_000) + self._passed_ms

    def pass_by(self, ms: int) -> None:
        """Let `ms` milliseconds pass."""
        self._passed_ms += ms
        self.system.traveller.move_to(START + timedelta(milliseconds=self._passed_ms))

    def expire(self) -> None:
        """Let the request expire. DynamoDB has not deleted it yet."""
        self.pass_by(RETENTION // timedelta(milliseconds=1))

    @property
    def stored(self) -> RequestRecord:
        """The stored request, expired or not. It is read again if an item was written since."""
        if self._read_at != self._aws.streamed():
            at_first = replace(requests(), clock=lambda: START)
            self._read_at, self._read = self._aws.streamed(), at_first.get(self.id)
        assert self._read
        return self._read

    @property
    def record(self) -> Record:
        return self.stored.record

    @property
    def locks(self) -> dict[str, int]:
        """The time when each current lock ends, in milliseconds since 1970, by the delivery's name."""
        return {each.name: each.locked_until for each in self.record.deliveries if each.is_locked(self.now)}

    def locks_hold(self, ms: int) -> bool:
        """Whether no lock ends within the next `ms` milliseconds."""
        return all(ends > self.now + ms for ends in self.locks.values())

    def may_resend(self, channel: str) -> bool:
        """Whether the operator may resend the request to that channel now. Not if a message may be on its way there."""
        return transitions.resend(self.record, "resend", channel, now=self.now) is not None

    @property
    def until_overdue(self) -> int:
        """The milliseconds until the reconciler counts every message as lost that it can, if nothing else happens."""
        waiting = (each.expected_at or 0 for each in self.record.awaited if not each.is_locked(self.now))
        return max((self.now, *waiting)) - self.now + OVERDUE_MS + TICK_MS

    def sweep(self, *, publishes: bool) -> None:
        """Let `until_overdue` pass, and call the reconciler. `publishes`: it also publishes the outbox."""
        reconciler = importlib.import_module("reconciler.handler")
        grace = 1 if publishes else 100 * 24 * 3_600
        self.pass_by(self.until_overdue)
        settings = reconciler.Settings.read().model_copy(update={"grace_seconds": grace})
        with patch.object(reconciler.Settings, "read", lambda: settings):
            assert self.system.reconcile(), "the sweep has died"

    # --- queues --------------------------------------------------------------------------------------------------

    def waiting(self, queue: str) -> dict[str, list[Held]]:
        """The messages in a queue by the names of their deliveries, without those in flight."""
        found = dict[str, list[Held]]()
        for message in self._queue(queue):
            if message.id not in self._in_flight:
                # A message about the original delivery contains no delivery name.
                name = json.loads(message.body).get("delivery") or queue.partition("-")[0]
                found.setdefault(name, []).append(message)
        return found

    def _queue(self, queue: str) -> list[Held]:
        return self._aws.sqs.queues[queue].messages

    def repeat(self, destination: Destination, name: str) -> None:
        """SQS delivers the message of the delivery `name` once more."""
        self._put(destination, self.waiting(destination)[name][0].body)

    def lose(self, destination: Destination, name: str) -> None:
        """SQS moves the message of the delivery `name` to the dead-letter queue, as after too many receives."""
        message = self.waiting(destination)[name][0]
        self._queue(destination).remove(message)
        self._put(f"{destination}-dlq", message.body)

    def redrive(self, destination: Destination, name: str) -> None:
        """An operator moves the dead letter of the delivery `name` back to its queue."""
        letter = self.waiting(f"{destination}-dlq")[name][0]
        self._queue(f"{destination}-dlq").remove(letter)
        self._put(destination, unwrapped(letter.body))

    def _put(self, queue: str, body: str) -> None:
        self._aws.sqs.queues[queue].put(body)
