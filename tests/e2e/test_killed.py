"""Processes that are really killed, with requests in every part of the pipeline."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Self

import pytest

from local import http
from local.wait import until
from tests.e2e.bot import Bot
from tests.e2e.conftest import HASTY
from tests.e2e.runner import Runner

REQUESTS = int(os.environ.get("KILLED_REQUESTS", "500"))
BOTS = 16
KILLS = 25
FUNCTIONS = ("stream_producer", "slack_consumer", "email_consumer", "reconciler")
# A killed consumer's batch comes again after six time-outs of the consumer: more than once, if it is killed again.
END_SECONDS = 360


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    started = Runner(tmp_path, context={**HASTY, "consumer_timeout_seconds": "15"})
    try:
        yield started
    finally:
        started.close()


class Killer:
    """Kills Lambda workers, those of all functions in turn, until it has killed enough or is told to stop."""

    def __init__(self, runner: Runner) -> None:
        self.killed = 0
        self._runner = runner
        self._enough = Event()
        self._thread = Thread(target=self._kill)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _workers(self) -> list[int]:
        """Where MiniStack runs the functions, but for the API's: it keeps a call whose worker was killed waiting."""
        found = []
        for pid in self._runner.descendants():
            with suppress(FileNotFoundError, ProcessLookupError):
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                if any(f"POWERTOOLS_SERVICE_NAME={name}".encode() in environment for name in FUNCTIONS):
                    found.append(pid)
        return sorted(found)

    def _kill(self) -> None:
        while self.killed < KILLS and not self._enough.wait(0.4):
            workers = self._workers()
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(workers[self.killed % len(workers)], signal.SIGKILL)
                    self.killed += 1


def accept(bot: Bot, number: int) -> str:
    """Post until there is an answer, with the same key each time."""
    body = {"topic": ("sales", "pricing")[number % 2], "description": f"number {number}"}

    def accepted() -> str | None:
        try:
            answer = bot.call("POST", "/assistance-requests", body, {"Idempotency-Key": f"killed {number}"})
        except http.NoAnswer:
            return None
        return str(answer.json["id"]) if answer.status == 202 else None

    return until(f"request {number} is accepted", 120, accepted)


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the workers in /proc")
def test_workers_killed_in_mid_flight_lose_nothing_and_post_nothing_twice(runner: Runner) -> None:
    bot = Bot(runner.running())
    with Killer(runner) as killer, ThreadPoolExecutor(BOTS) as pool:
        ids = list(pool.map(lambda number: accept(bot, number), range(REQUESTS)))
        until("enough workers have been killed", 60, lambda: True if killer.killed >= KILLS else None)
    assert len(set(ids)) == REQUESTS == bot.stored() - 2, (
        "a repeated call is accepted once; two are the demonstration's"
    )
    left = set(ids)

    def all_ended() -> bool | None:
        ended = {i for i in left if bot.show(i)["status"] in {"delivered", "failed"}}
        left.difference_update(ended)
        return None if left else True

    until("every request has ended", END_SECONDS, all_ended)
    posted, mailed = bot.posted(), bot.mailed()
    assert not {i: n for i, n in posted.items() if n > 1}, "none is on Slack twice"
    statuses = Counter(bot.show(i)["status"] for i in ids)
    for request_id in ids:
        if bot.show(request_id)["status"] == "delivered":
            assert posted[request_id] or mailed[request_id]
        else:
            assert bot.dead_letter("slack", request_id) or bot.dead_letter("email", request_id)
    twice = sum(n > 1 for i, n in mailed.items() if i in set(ids))
    print(f"\n{REQUESTS} requests, {killer.killed} workers killed: {dict(statuses)}; mailed twice, in doubt: {twice}")  # noqa: T201
