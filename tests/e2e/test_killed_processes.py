"""Tests that no request is lost while the processes of the functions are killed again and again."""

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from local import http
from local.wait import until
from tests.e2e.bot import Bot
from tests.e2e.runner import Runner

# With SOAK=1 five hundred requests are sent, and more processes are killed.
REQUESTS, KILLS_EACH = (500, 10) if os.environ.get("SOAK") else (100, 3)
STEP = 5
# The consumers' timeout. A killed attempt can't run for longer. The template's visibility timeout is six times that.
VISIBILITY_SECONDS = 30
END_SECONDS = 240


class Posted:
    """Sends requests until each is accepted, and counts the repeated calls."""

    def __init__(self, bot: Bot) -> None:
        self.accepted = self.repeated = 0
        self._bot = bot

    def post(self, number: int) -> str:
        """Repeat the call until the API accepts the request, and return its id. A killed call may have stored it."""
        body = {"topic": ("sales", "pricing")[number % 2], "description": f"number {number}"}

        def accepted() -> str | None:
            try:
                answer = self._bot.call("POST", "/assistance-requests", body, {"Idempotency-Key": f"killed {number}"})
            except http.NoAnswer:
                self.repeated += 1
                return None
            if answer.status >= 500:
                self.repeated += 1
                return None
            assert answer.status == 202, answer
            self.accepted += 1
            return str(answer.json["id"])

        return until(f"request {number} is accepted", END_SECONDS, accepted)


@dataclass
class Killer:
    """Kills Lambda processes during their work: each time that a function has made progress, all of its processes."""

    bot: Bot
    runner: Runner
    posted: Posted
    killed: Counter[str] = field(default_factory=Counter)

    def progress(self) -> dict[str, int]:
        return {
            "Api": self.posted.accepted,
            "StreamProducer": self.bot.published(),
            "SlackConsumer": self.bot.posted().total(),
            "EmailConsumer": self.bot.mailed().total(),
        }

    def kill(self) -> None:
        """Kill processes until each function was killed often enough, or all sent requests have arrived."""
        start = self.progress()
        seen = dict(start)

        def over(now: dict[str, int]) -> bool:
            arrived = sum(now[name] - start[name] for name in ("SlackConsumer", "EmailConsumer"))
            return arrived >= REQUESTS or all(self.killed[name] >= KILLS_EACH for name in now)

        def killing() -> bool | None:
            now = self.progress()
            for name in now:
                if now[name] >= seen[name] + STEP and self.killed[name] < KILLS_EACH:
                    self._kill_all(name)
                    seen[name] = now[name]
            return over(now) or None

        until("enough was killed", END_SECONDS, killing)

    def _kill_all(self, name: str) -> None:
        for pid in self.runner.workers(f"{self.bot.stack['stack_name']}-{name}"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.killed[name] += 1


def ended(bot: Bot, request_id: str) -> dict[str, Any]:
    """Wait until the request has a final status, and return the API's status response."""
    return bot.until(request_id, lambda shown: shown["status"] in {"delivered", "failed"}, END_SECONDS)


def doubts(shown: dict[str, Any], channel: str) -> int:
    """Return the number of attempts on the channel whose outcome is unknown."""
    timelines = [delivery["timeline"] for delivery in shown["deliveries"] if delivery["channel"] == channel]
    return sum(attempt.get("in_doubt", False) for timeline in timelines for attempt in timeline)


def test_every_accepted_request_gets_a_final_status_and_at_most_one_slack_post_while_processes_are_killed(
    bot: Bot, runner: Runner
) -> None:
    before, posted = bot.stored(), Posted(bot)
    killer = Killer(bot, runner, posted)
    with bot.visibility_timeout(VISIBILITY_SECONDS), ThreadPoolExecutor(16) as pool:
        bot.fault("slow", seconds=1)
        try:
            posting = [pool.submit(posted.post, number) for number in range(REQUESTS)]
            killer.kill()
            ids = [future.result() for future in posting]
        finally:
            bot.fault("none")
        shown = dict(zip(ids, pool.map(lambda request_id: ended(bot, request_id), ids), strict=True))
        bot.until_queues_are_empty(END_SECONDS)
    on_slack, mailed = bot.posted(), bot.mailed()
    again = {request_id: mailed[request_id] - 1 for request_id in ids if mailed[request_id] > 1}
    in_doubt = sum(doubts(request, channel) for request in shown.values() for channel in ("slack", "email"))
    print(  # noqa: T201
        f"\n{REQUESTS} requests, killed {dict(killer.killed)}: {posted.repeated} calls repeated, "
        f"{in_doubt} attempts in doubt, {sum(again.values())} mails sent again"
    )
    assert len(set(ids)) == bot.stored() - before == REQUESTS
    assert in_doubt, "no attempt was hit: the test has shown nothing"
    for request_id, request in shown.items():
        if request["status"] == "failed":
            channels = [delivery["channel"] for delivery in request["deliveries"] if delivery["status"] == "failed"]
            assert channels
            assert all(bot.dead_letter(channel, request_id) for channel in channels)
        else:
            assert on_slack[request_id] or mailed[request_id]
    assert {request_id: on_slack[request_id] for request_id in ids if on_slack[request_id] > 1} == {}
    assert all(times <= doubts(shown[request_id], "email") for request_id, times in again.items())
