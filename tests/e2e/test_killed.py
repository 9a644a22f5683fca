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

REQUESTS = 500
BOTS = 16
KILLS_EACH = 6
# Not the API's: MiniStack keeps a call whose worker was killed waiting.
FUNCTIONS = ("stream_producer", "slack_consumer", "email_consumer")
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
    """Kills Lambda workers, each function's `KILLS_EACH` times: those that are at work, whenever they are."""

    def __init__(self, runner: Runner) -> None:
        self.killed: Counter[str] = Counter()
        self._runner = runner
        self._over = Event()
        self._thread = Thread(target=self._kill)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def enough(self) -> bool:
        """Whether every function has been killed as often as it should be."""
        return all(self.killed[function] >= KILLS_EACH for function in FUNCTIONS)

    def _workers(self) -> dict[str, int]:
        """A process of each function that MiniStack runs."""
        found: dict[str, int] = {}
        for pid in self._runner.descendants():
            with suppress(FileNotFoundError, ProcessLookupError):
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                found |= {name: pid for name in FUNCTIONS if f"POWERTOOLS_SERVICE_NAME={name}".encode() in environment}
        return found

    def _kill(self) -> None:
        while not (self.enough or self._over.wait(0.5)):
            for function, pid in self._workers().items():
                if self.killed[function] < KILLS_EACH:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self.killed[function] += 1


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


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "soak", reason="takes minutes: make soak; needs /proc")
def test_workers_killed_in_mid_flight_lose_nothing_and_post_nothing_twice(runner: Runner) -> None:
    bot = Bot(runner.running())
    with Killer(runner) as killer, ThreadPoolExecutor(BOTS) as pool:
        ids = list(pool.map(lambda number: accept(bot, number), range(REQUESTS)))
        until("every function has been killed often enough", 60, lambda: killer.enough or None)
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
    print(f"\n{REQUESTS} requests, killed {dict(killer.killed)}: {dict(statuses)}; mailed twice, in doubt: {twice}")  # noqa: T201
