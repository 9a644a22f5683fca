"""Tests that the messages of a batch are sent independently of each other, and each gets a separate outcome."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import UUID

import pytest

from assistance.engine.batch_sending import BatchSend, Outcomes, in_parts, send_together
from assistance.engine.decisions import UNEXPECTED, SendResult
from assistance.errors import PermanentFailure, RateLimited
from assistance.models import AssistanceRequest, Outgoing
from assistance.routing import Topic


def outgoing(number: int) -> Outgoing:
    return Outgoing(
        AssistanceRequest(
            id=str(UUID(int=number)), topic=Topic.SALES, description="help", created_at="2026-01-01T00:00:00.000Z"
        )
    )


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


def run(together: BatchSend, *records: Callable[[int], Outgoing | None]) -> list[SendResult | None]:
    """Begin the records, and send those that return a request. Returns the outcomes."""
    outcomes: list[SendResult | None] = [None] * len(records)
    with ThreadPoolExecutor(2 * len(records)) as pool:
        begun = [pool.submit(record, number) for number, record in enumerate(records)]
        for part in in_parts(begun):
            ready = {number: one for number, one in part.items() if one}
            outcome = send_together(together, list(ready.values()), pool)
            for number, one in ready.items():
                outcomes[number] = outcome(one)
    return outcomes


def ends_without(_: int) -> None:
    pass


def test_messages_that_need_no_send_do_not_delay_the_other_messages_of_the_batch() -> None:
    channel = Channel()
    outcomes = run(channel.together(size=10), ends_without, outgoing, outgoing, ends_without, outgoing)
    assert channel.sent == [{1, 2, 4}]
    assert outcomes == [None, "ts 1", "ts 2", None, "ts 4"]


def test_each_message_of_a_batch_gets_a_separate_outcome() -> None:
    channel = Channel()
    failed, *sent = run(channel.together(), *[outgoing] * 9)
    assert isinstance(failed, PermanentFailure)
    assert sent == [f"ts {number}" for number in range(1, 9)]
    assert sorted(map(len, channel.sent)) == [1, 2, 2, 2, 2]


SLOW_DOWN = RateLimited("slow_down", retry_after=3)


@pytest.mark.parametrize(("error", "outcome"), [(SLOW_DOWN, SLOW_DOWN), (RuntimeError("a bug"), UNEXPECTED)])
def test_the_failure_of_a_slack_digest_is_the_outcome_of_exactly_the_requests_in_the_digest(
    error: Exception, outcome: SendResult
) -> None:
    outcomes = run(Channel(error).together(), *[outgoing] * 6)
    assert outcomes.count(outcome) == 2
    assert all(each is outcome or isinstance(each, str | PermanentFailure) for each in outcomes)


def test_a_batch_waits_a_limited_time_for_a_slow_message_and_sends_that_message_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assistance.engine.batch_sending._PATIENCE_SECONDS", 0.1)
    channel, others_have_gone = Channel(), Event()

    def late(number: int) -> Outgoing:
        assert others_have_gone.wait(30)
        return outgoing(number)

    def send(message: Sequence[Outgoing]) -> Outcomes:
        others_have_gone.set()
        return channel.send(message)

    together = BatchSend(lambda all_: [all_] if all_ else [], send)
    outcomes = run(together, late, outgoing, late)
    assert channel.sent[0] == {1}
    assert set().union(*channel.sent) == {0, 1, 2}
    assert outcomes[1:] == ["ts 1", "ts 2"]
