"""Tests the threads that stay between invocations."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import pytest

from assistance.platform.kept_threads import KeptThreads

LIMIT = 3


def identities(number: int) -> Iterator[int]:
    """The threads that run so many tasks at the same time."""
    at_once = threading.Barrier(number)

    def task() -> int:
        at_once.wait(5)
        return threading.get_ident()

    with KeptThreads(LIMIT) as pool:
        tasks = [pool.submit(task) for _ in range(number)]
    return (each.result() for each in tasks)


def test_a_later_executor_uses_the_threads_of_an_earlier_one() -> None:
    assert set(identities(LIMIT)) == set(identities(LIMIT))


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_the_executor_waits_for_its_tasks_although_a_task_or_its_with_block_raises_an_error(
    error: type[BaseException],
) -> None:
    """Lambda would freeze a task that is still running after the end of its invocation."""
    release, running = threading.Event(), threading.Event()
    done = list[int]()

    def follow(number: int) -> None:
        running.set()
        release.wait(5)
        done.append(number)

    def fail() -> None:
        raise error

    def fork(pool: KeptThreads) -> Future[None]:
        return pool.submit(follow, 1)

    def block() -> None:
        with KeptThreads(LIMIT) as pool:
            pool.submit(follow, 0)
            # This task submits a further one, as those of a batch do.
            pool.submit(fork, pool).result()
            assert running.wait(5)
            pool.submit(fail).result()

    threading.Timer(0.05, release.set).start()
    with pytest.raises(error):
        block()
    assert sorted(done) == [0, 1]
    with pytest.raises(error), KeptThreads(1) as pool:
        # `map` cancels the tasks that have not begun.
        list(pool.map(partial(_fail, error), range(20)))
    with KeptThreads(1) as pool:
        assert list(pool.map(str, range(3))) == ["0", "1", "2"]


def test_the_executor_waits_for_a_task_that_another_task_submits_last_and_does_not_wait_for() -> None:
    """If `divide` can't start a thread for a batch's second message, it does not wait until the first one is sent."""
    at_its_end, release, done = threading.Event(), threading.Event(), list[str]()

    def send() -> None:
        release.wait(5)
        done.append("sent")

    def divide(pool: KeptThreads) -> None:
        at_its_end.wait(5)
        pool.submit(send)

    threading.Timer(0.05, at_its_end.set).start()
    threading.Timer(0.1, release.set).start()
    with KeptThreads(LIMIT) as pool:
        pool.submit(divide, pool)
    assert done == ["sent"]


def _fail(error: type[BaseException], _: int) -> None:
    raise error


def test_a_task_for_which_no_thread_can_be_started_does_not_run_in_a_later_invocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its message would be sent although SQS delivers it again, and perhaps after the claim has expired."""
    limit, release, ran = LIMIT + 1, threading.Event(), list[str]()

    def first() -> None:
        release.wait(5)
        ran.append("first")

    def fails(_: threading.Thread) -> None:
        release.set()
        raise RuntimeError("can't start new thread")

    def start_two_tasks() -> None:
        with KeptThreads(limit) as pool:
            pool.submit(first)
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", fails)
                pool.submit(ran.append, "second")

    with pytest.raises(RuntimeError):
        start_two_tasks()
    with KeptThreads(limit) as pool:
        pool.submit(ran.append, "later").result()
    assert ran == ["first", "later"]
