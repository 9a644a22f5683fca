"""Sends several requests of one batch in one message, on a channel that supports this.

Each SQS record of the batch has a thread. Before they send, the threads wait until each has claimed its delivery or
has nothing to send, but at most two seconds. Requests whose claim takes longer are sent later.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Event, Lock
from typing import Final, TypeAlias

from assistance.engine.decisions import UNEXPECTED, SendResult
from assistance.errors import DeliveryError
from assistance.models import Outgoing
from assistance.platform import unforeseen

_PATIENCE_SECONDS: Final = 2.0

Send: TypeAlias = Callable[[Outgoing], str]
"""A channel implements this: send one request, and return the provider's id of the message or raise `DeliveryError`."""
Outcomes: TypeAlias = Mapping[Outgoing, SendResult]
Sending: TypeAlias = Callable[[Outgoing], SendResult]
"""The engine calls this to send one request. It returns errors, and raises none."""


@dataclass(frozen=True, slots=True)
class BatchSend:
    """The functions of a channel that can send several requests in one message. Others have a `Send` instead."""

    divide: Callable[[Sequence[Outgoing]], Iterable[Sequence[Outgoing]]]
    """Group requests into messages. A request whose `alone` is true gets a message of its own."""
    send: Callable[[Sequence[Outgoing]], Outcomes]
    """Send one message. Returns the outcome of each request in it. An error that it raises is the outcome of all."""


def send_alone(send: Send, outgoing: Outgoing) -> SendResult:
    """Send one request. Returns the provider's id of the message or the error, and raises nothing."""
    return _outcomes(lambda: {outgoing: send(outgoing)}, [outgoing])[outgoing]


def _outcomes(send: Callable[[], Outcomes], message: Sequence[Outgoing]) -> Outcomes:
    """Call `send`, and return its outcomes. An error that it raises is the outcome of all requests of the message."""
    outcome: DeliveryError = UNEXPECTED
    try:
        return send()
    except DeliveryError as error:
        outcome = error
    except Exception as error:  # noqa: BLE001 # whatever the error is, the other requests of the batch go on
        unforeseen.log(error, request_ids=[outgoing.request.id for outgoing in message])
    return dict.fromkeys(message, outcome)


class Batch:
    """Collects the requests of one batch, and sends them in as few messages as the channel allows."""

    def __init__(
        self, records: int, batch_send: BatchSend, pool: Executor, *, patience: float = _PATIENCE_SECONDS
    ) -> None:
        """`records`: the batch's size. `pool` has up to three threads for each. `patience`: seconds for slow claims."""
        self._batch_send = batch_send
        self._pool = pool
        self._patience = patience
        self._undecided = records
        self._all_decided = Event()
        self._outgoing: list[Outgoing] = []
        self._messages: Future[Mapping[Outgoing, Future[Outcomes]]] | None = None
        self._lock = Lock()

    @contextmanager
    def record(self) -> Iterator[Sending]:
        """Yields a function that sends a record's request. Other records wait until it is called or the block ends."""
        with ExitStack() as undecided:
            undecided.callback(self._decided)
            yield partial(self._send, undecided.close)

    def _decided(self) -> None:
        with self._lock:
            self._undecided -= 1
            if not self._undecided:
                self._all_decided.set()

    def _send(self, decided: Callable[[], None], outgoing: Outgoing) -> SendResult:
        with self._lock:
            self._outgoing.append(outgoing)
            if self._messages is None:
                self._messages = self._pool.submit(self._divide)
            messages = self._messages
        decided()
        return messages.result()[outgoing].result()[outgoing]

    def _divide(self) -> Mapping[Outgoing, Future[Outcomes]]:
        self._all_decided.wait(self._patience)
        with self._lock:
            outgoing, self._outgoing, self._messages = self._outgoing, [], None
        try:
            divided = [list(message) for message in self._batch_send.divide(outgoing)]
        except Exception as error:  # noqa: BLE001 # as above
            # One of the requests may have caused the error. Send each one alone, so that it does not affect the others.
            unforeseen.log(error, request_ids=[one.request.id for one in outgoing])
            return {one: self._pool.submit(self._alone, one) for one in outgoing}
        messages: dict[Outgoing, Future[Outcomes]] = {}
        for message in divided:
            send = partial(self._batch_send.send, message)
            messages |= dict.fromkeys(message, self._pool.submit(_outcomes, send, message))
        return messages

    def _alone(self, outgoing: Outgoing) -> Outcomes:
        return _outcomes(lambda: self._batch_send.send(*self._batch_send.divide([outgoing])), [outgoing])
