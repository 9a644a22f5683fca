"""Decides which receivers of callbacks may be called now, so that slow receivers do not delay the callbacks to others.

A batch takes as long as its slowest callback, and only a few batches run at the same time. So each Lambda process of
this function remembers, for each host and each of its paths, how long the last call took. It follows three rules:

1. A path whose last call was prompt (it got an answer within `PROMPT_SECONDS`) is always called.
2. A path whose last call took longer gets no calls for as long as that call took. If the call got no answer, the pause
   is twice as long, and doubles with each further call without an answer. After the pause, one callback tries the path.
   All other paths of the host that are not known to be prompt get the same pause: many bots may share a host, and one
   bot may use many paths.
3. Receivers that are not known to be prompt may together delay batches for `BURST_SECONDS` at a time, and for the
   share `SHARE` of the time in the long run. Half of the burst is reserved for receivers that have not failed to
   answer.

A callback to a receiver that may not be called is put off, without being sent. Processes share nothing: each of them
makes a call of its own to a host that does not answer.
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
    """What is known of a path or a host, from the last calls to it. Times are in seconds since 1970.

    `prompt`: True if it answered within `PROMPT_SECONDS`. `unanswered`: how many calls in a row got no answer; calls at
    the same time count once. `judged_at`: when the last slow call ended. `rests_until`: until when it gets no calls.
    """

    prompt: bool = False
    unanswered: int = 0
    judged_at: float = -inf
    rests_until: float = -inf

    def after(self, started: float, ended: float, *, answered: bool) -> "_Known | None":
        """What is known after another call. None if the call failed quickly: then nothing is known of the receiver."""
        took = ended - started
        if took <= PROMPT_SECONDS:
            return _Known(prompt=True) if answered else None
        again = started >= self.judged_at
        unanswered = 0 if answered else min(self.unanswered + again, _MAX_DOUBLINGS)
        rest = min(took * 2**unanswered, MAX_REST_SECONDS)
        return _Known(unanswered=unanswered, judged_at=ended, rests_until=ended + rest)


class Receivers:
    """Remembers how fast the receivers answered that this Lambda process has called lately."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._lock = Lock()
        self._known: dict[str, _Known] = {}
        """Keys are hosts, and hosts with paths. The most recently called ones are at the end."""
        self._slow = _SlowTime(self._now())

    def call(self, url: str, post: Callable[[], T]) -> T:
        """Call `post`, and remember how long it took. Raises `RateLimited` if the receiver may not be called now."""
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
        for known in both:
            # If the clock was set back, the pause would last until the clock has caught up.
            known.rests_until = min(known.rests_until, now + MAX_REST_SECONDS)
        rests_until = max(known.rests_until for known in both)
        if now < rests_until:
            raise RateLimited("receiver_put_off", retry_after=rests_until - now)
        silent = [known for known in both if known.unanswered]
        if of_path or not of_host.prompt:
            seconds = self._slow.seconds_until(BURST_SECONDS / 2 if silent else 0, now)
            if seconds:
                raise RateLimited("slow_receivers_put_off", retry_after=seconds)
        for known in silent:
            # Other callbacks wait until this one shows whether the receiver answers again.
            known.rests_until = now + DEADLINE_SECONDS

    def _remember(self, host: str, path: str, started: float, ended: float, *, answered: bool) -> None:
        if ended - started > PROMPT_SECONDS:
            self._slow.spend(started, ended)
        before, after = self._judge(path, started, ended, answered=answered)
        if not (before.prompt and after and after.prompt):
            # A path that was prompt before and is prompt now shows nothing about the other paths of its host.
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
    """For how many seconds slow receivers may still delay batches. The time of simultaneous calls counts once.

    `left`: the number of these seconds. `at`: when `left` was last computed, in seconds since 1970.
    """

    at: float
    left: float = BURST_SECONDS
    since: float = -inf
    until: float = -inf
    """`since`, `until`: when the last period began and ended that was subtracted from `left`, in seconds since 1970."""

    def seconds_until(self, reserve: float, now: float) -> float:
        """In how many seconds slow receivers may again delay batches for `reserve` seconds. 0 if they may now."""
        self._refill(now)
        return max(0.0, (reserve - self.left) / SHARE)

    def spend(self, started: float, ended: float) -> None:
        """Subtract from `left` the time by which a slow call has delayed batches, except time already subtracted."""
        self._refill(ended)
        if started < self.until <= ended:
            self.left -= max(0.0, self.since - started) + ended - self.until
            self.since, self.until = min(self.since, started), ended
        else:
            # No call was made at the same time. If the call ended earlier than the last one, the clock was set back.
            self.left -= ended - started
            self.since, self.until = started, ended

    def _refill(self, now: float) -> None:
        self.left = min(BURST_SECONDS, self.left + max(0.0, now - self.at) * SHARE)
        self.at = max(self.at, now)
