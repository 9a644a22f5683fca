"""Sends several requests of one batch in one message, on a channel that supports this."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, TypeVar

from assistance.engine.decisions import UNEXPECTED, SendResult
from assistance.errors import DeliveryError
from assistance.models import Outgoing
from assistance.platform import unforeseen

_PATIENCE_SECONDS: Final = 2.0

Send: TypeAlias = Callable[[Outgoing], str]
"""A channel implements this: send one request, and return the provider's id of the message or raise `DeliveryError`."""
Outcomes: TypeAlias = Mapping[Outgoing, SendResult]
Sending: TypeAlias = Callable[[Outgoing], SendResult]
"""The engine calls this for the outcome of sending one request."""
T = TypeVar("T")


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


def in_parts(begun: Sequence[Future[T]]) -> Iterator[Mapping[int, T]]:
    """Yield the results of the futures that are done after two seconds, by their indexes; then of further ones.

    So a record whose claim takes long delays the others of its batch by two seconds at most.
    """
    left = list(range(len(begun)))
    while left:
        until = time.monotonic() + _PATIENCE_SECONDS
        done = dict[int, T]()
        for index in left:
            with suppress(TimeoutError):
                done[index] = begun[index].result(max(until - time.monotonic(), 0))
        left = [index for index in left if index not in done]
        yield done


def send_together(batch_send: BatchSend, outgoing: Sequence[Outgoing], pool: Executor) -> Sending:
    """Begin to send these requests, in as few messages as the channel allows. The function returned waits for one."""
    try:
        divided = [list(message) for message in batch_send.divide(outgoing)]
        send = batch_send.send
    except Exception as error:  # noqa: BLE001 # as above
        # One of the requests may have caused the error. Send each one alone, so that it does not affect the others.
        unforeseen.log(error, request_ids=[one.request.id for one in outgoing])
        divided = [[one] for one in outgoing]

        def send(message: Sequence[Outgoing]) -> Outcomes:
            return batch_send.send(*batch_send.divide(message))

    messages: dict[Outgoing, Future[Outcomes]] = {}
    for message in divided:
        messages |= dict.fromkeys(message, pool.submit(_outcomes, partial(send, message), message))
    return lambda one: messages[one].result()[one]
