"""Tests that the messages of a batch are sent independently of each other, and each gets a separate outcome."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Event
from uuid import UUID

import pytest

from assistance.engine.batch_sending import Batch, BatchSend, Outcomes
from assistance.engine.decisions import UNEXPECTED, SendResult
from assistance.errors import PermanentFailure, RateLimited
from assistance.models import Outgoing
from tests.sample_requests import request, to_send


def outgoing(number: int) -> Outgoing:
    return to_send(request(id_=str(UUID(int=number))))


def number_of(outgoing: Outgoing) -> int:
    return UUID(outgoing.request.id).int


class Channel:
    """A channel that sends several messages together. `sent`: the numbers of the messages in each call of `send`.

    `raises`: the exceptions of calls of `send`, the last one first. Message 0 always fails.
    """

    def __init__(self, *raises: Exception) -> None:
        self.sent: list[set[int]] = []
        self.raises = list(raises)

    def send(self, message: Sequence[Outgoing]) -> Outcomes:
        self.sent.append({number_of(one) for one in message})
        if self.raises:
            raise self.raises.pop()
        return {one: f"ts {number_of(one)}" if number_of(one) else PermanentFailure("bad") for one in message}

    def together(self, size: int = 2) -> BatchSend:
        return BatchSend(lambda all_: [all_[at : at + size] for at in range(0, len(all_), size)], self.send)


Record = Callable[[Batch, int], SendResult]


def sends(batch: Batch, number: int) -> SendResult:
    with batch.record() as send:
        return send(outgoing(number))


def ends_without(batch: Batch, _: int) -> SendResult:
    with batch.record():
        return "swallowed"


def dies(batch: Batch, _: int) -> SendResult:
    with batch.record():
        raise KeyboardInterrupt


def run(together: BatchSend, *records: Record, patience: float = 30) -> list[Future[SendResult]]:
    with ThreadPoolExecutor(3 * len(records)) as pool:
        batch = Batch(len(records), together, pool, patience=patience)
        ended = [pool.submit(record, batch, number) for number, record in enumerate(records)]
        wait(ended)
        return ended


def test_messages_that_need_no_send_do_not_delay_the_other_messages_of_the_batch() -> None:
    channel = Channel()
    ended = run(channel.together(size=10), ends_without, sends, dies, sends, ends_without, sends)
    assert channel.sent == [{1, 3, 5}]
    assert [ended[number].result() for number in (0, 1, 3, 5)] == ["swallowed", "ts 1", "ts 3", "ts 5"]
    assert isinstance(ended[2].exception(), KeyboardInterrupt)


def test_each_message_of_a_batch_gets_a_separate_outcome() -> None:
    channel = Channel()
    failed, *sent = run(channel.together(), *[sends] * 9)
    assert isinstance(failed.result(), PermanentFailure)
    assert [each.result() for each in sent] == [f"ts {number}" for number in range(1, 9)]
    assert sorted(map(len, channel.sent)) == [1, 2, 2, 2, 2]


SLOW_DOWN = RateLimited("slow_down", retry_after=3)


@pytest.mark.parametrize(("error", "outcome"), [(SLOW_DOWN, SLOW_DOWN), (RuntimeError("a bug"), UNEXPECTED)])
def test_the_failure_of_a_slack_digest_is_the_outcome_of_exactly_the_requests_in_the_digest(
    error: Exception, outcome: SendResult
) -> None:
    ended = run(Channel(error).together(), *[sends] * 6)
    outcomes = [each.result() for each in ended]
    assert outcomes.count(outcome) == 2
    assert all(each is outcome or isinstance(each, str | PermanentFailure) for each in outcomes)


def test_a_batch_waits_a_limited_time_for_a_slow_message_and_sends_that_message_later() -> None:
    channel, others_have_gone = Channel(), Event()

    def late(batch: Batch, number: int) -> SendResult:
        with batch.record() as send:
            assert others_have_gone.wait(30)
            return send(outgoing(number))

    def first(batch: Batch, number: int) -> SendResult:
        try:
            return sends(batch, number)
        finally:
            others_have_gone.set()

    ended = run(channel.together(size=10), late, first, late, patience=0)
    assert channel.sent[0] == {1}
    assert set().union(*channel.sent) == {0, 1, 2}
    assert [ended[number].result() for number in (1, 2)] == ["ts 1", "ts 2"]
