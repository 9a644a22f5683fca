"""Which receivers may be called now, so that slow ones do not keep the callbacks of all others waiting.

A batch takes as long as its slowest callback, and only a few batches are under way at once. So every instance of the
function remembers how long those took that it has called, each path of each host, and keeps three rules:

1. Paths that were prompt the last time are always called.
2. A path that took longer than `PROMPT_SECONDS` is left alone for as long as it took. If it did not answer it is left
   alone for twice as long, and for twice as long again each further time; then one callback tries it. So are all
   paths of its host that are not known to be prompt: many bots have one host, and a bot may have many paths.
3. All that is not known to be prompt may together hold up batches for `BURST_SECONDS` at once, and for `SHARE` of the
   time in the long run. Half of the burst is kept for what is not known to be silent.

A callback that is put off has not been sent. Instances share nothing: each of them calls a dark host once for itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from threading import Lock
from typing import Final, TypeVar

from pydantic_core import Url

from assistance.errors import RateLimited
from assistance.platform.clock import Clock, utc_now
from callback_consumer.egress import DEADLINE_SECONDS

PROMPT_SECONDS: Final = 2
MAX_REST_SECONDS: Final = 300
BURST_SECONDS: Final = 20
SHARE: Final = 0.5
MAX_KNOWN: Final = 10_000
_MAX_DOUBLINGS: Final = 10

T = TypeVar("T")


@dataclass(slots=True)
class _Known:
    """Facts from the last call of a path or of a host. Times are in seconds since 1970.

    `unanswered` counts calls in a row; calls side by side count once.
    """

    prompt: bool = False
    unanswered: int = 0
    judged_at: float = -inf
    rests_until: float = -inf

    def after(self, started: float, ended: float, *, answered: bool) -> "_Known | None":
        """The facts after another call. None if it failed quickly: it holds up nobody, but does not answer either."""
        took = ended - started
        if took <= PROMPT_SECONDS:
            return _Known(prompt=True) if answered else None
        again = started >= self.judged_at
        unanswered = 0 if answered else min(self.unanswered + again, _MAX_DOUBLINGS)
        rest = min(took * 2**unanswered, MAX_REST_SECONDS)
        return _Known(unanswered=unanswered, judged_at=ended, rests_until=ended + rest)


class Receivers:
    """Remembers how the receivers behaved that this instance has called lately."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._lock = Lock()
        self._known: dict[str, _Known] = {}
        """By host, and by host and path. Those that were called last stand last."""
        self._slow = _SlowTime(self._now())

    def call(self, url: str, post: Callable[[], T]) -> T:
        """Post, and remember how long it took. Raises `RateLimited` instead if the receiver is to wait."""
        to = Url(url)
        host = f"{str(to.host).removesuffix('.')}:{to.port}"
        path = f"{host}{to.path}"
        with self._lock:
            started = self._now()
            self._admit(host, path, started)
        answered = False
        try:
            answer = post()
            answered = True
            return answer
        finally:
            with self._lock:
                self._remember(host, path, started, self._now(), answered=answered)

    def _now(self) -> float:
        return self._clock().timestamp()

    def _admit(self, host: str, path: str, now: float) -> None:
        of_host = self._known.get(host, _Known())
        of_path = self._known.get(path)
        if of_path and of_path.prompt:
            return
        both = [of_host, of_path] if of_path else [of_host]
        rests_until = max(known.rests_until for known in both)
        if now < rests_until:
            raise RateLimited("receiver_put_off", retry_after=rests_until - now)
        silent = [known for known in both if known.unanswered]
        if of_path or not of_host.prompt:
            seconds = self._slow.seconds_until(BURST_SECONDS / 2 if silent else 0, now)
            if seconds:
                raise RateLimited("slow_receivers_put_off", retry_after=seconds)
        for known in silent:
            # The others wait for what this one finds out.
            known.rests_until = now + DEADLINE_SECONDS

    def _remember(self, host: str, path: str, started: float, ended: float, *, answered: bool) -> None:
        if ended - started > PROMPT_SECONDS:
            self._slow.spend(started, ended)
        before, after = self._judge(path, started, ended, answered=answered)
        if not (before.prompt and after and after.prompt):
            # A path that is always prompt says nothing about the others of its host.
            self._judge(host, started, ended, answered=answered)
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def _judge(self, name: str, started: float, ended: float, *, answered: bool) -> tuple[_Known, _Known | None]:
        before = self._known.pop(name, _Known())
        after = before.after(started, ended, answered=answered)
        if after:
            self._known[name] = after
        return before, after


@dataclass(slots=True)
class _SlowTime:
    """The seconds that slow receivers may still hold up batches for. Calls side by side hold up one batch once."""

    at: float
    left: float = BURST_SECONDS
    since: float = -inf
    until: float = -inf
    """The last stretch of time that has been counted."""

    def seconds_until(self, reserve: float, now: float) -> float:
        """How long it takes until so much is left: 0 if it is."""
        self._refill(now)
        return max(0.0, (reserve - self.left) / SHARE)

    def spend(self, started: float, ended: float) -> None:
        """Take what this call has added to the time that batches were held up."""
        self._refill(ended)
        if started >= self.until:
            self.left -= ended - started
            self.since, self.until = started, ended
        else:
            self.left -= max(0.0, self.since - started) + max(0.0, ended - self.until)
            self.since, self.until = min(self.since, started), max(self.until, ended)

    def _refill(self, now: float) -> None:
        self.left = min(BURST_SECONDS, self.left + max(0.0, now - self.at) * SHARE)
        self.at = max(self.at, now)
