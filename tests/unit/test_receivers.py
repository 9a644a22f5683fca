"""Tests that slow callback receivers use a limited share of a function's time, and fast ones are always called."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistance.errors import RateLimited, TransientFailure
from callback_consumer.egress import CONNECT_SECONDS, DEADLINE_SECONDS
from callback_consumer.receivers import BURST_SECONDS, MAX_KNOWN, MAX_REST_SECONDS, PROMPT_SECONDS, SHARE, Receivers

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DARK = "https://dark.example.com/"
PROMPT = "https://prompt.example.com/"
ROUNDING = 1e-3


@dataclass
class Instance:
    """A Lambda instance of the callback consumer. Its time passes only while a receiver takes time, or by `wait`."""

    now: datetime = START
    receivers: Receivers = field(init=False)

    def __post_init__(self) -> None:
        self.receivers = Receivers(clock=lambda: self.now)

    @property
    def seconds(self) -> float:
        return (self.now - START).total_seconds()

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def call(self, url: str, took: float = 0.1, *, answers: bool = True) -> str:
        """Call a host. It takes `took` seconds. Returns `answered`, `unanswered`, or a postponed call's code."""

        def post() -> str:
            self.wait(took)
            if not answers:
                raise TransientFailure("timeout")
            return "answered"

        try:
            return self.receivers.call(url, post)
        except RateLimited as error:
            return error.code
        except TransientFailure:
            return "unanswered"

    def put_off_for(self, url: str) -> float:
        with pytest.raises(RateLimited) as put_off:
            self.receivers.call(url, str)
        return put_off.value.retry_after or 0

    def use_up_the_share(self) -> None:
        """Call one unresponsive host after another, until the instance postpones calls to slow hosts."""
        began = self.seconds
        while self.call(f"https://{self.seconds}.example.net/", DEADLINE_SECONDS, answers=False) == "unanswered":
            assert self.seconds - began <= 2 * BURST_SECONDS + DEADLINE_SECONDS


@pytest.fixture
def instance() -> Instance:
    return Instance()


def test_the_pause_before_an_unresponsive_callback_host_is_called_again_doubles_each_time(instance: Instance) -> None:
    rests = list[float]()
    for _ in range(1_100):
        assert instance.call(DARK, CONNECT_SECONDS, answers=False) == "unanswered"
        assert instance.call(DARK) == "receiver_put_off"
        rests.append(instance.put_off_for(DARK))
        instance.wait(rests[-1])
    assert rests[:3] == pytest.approx([2 * CONNECT_SECONDS, 4 * CONNECT_SECONDS, 8 * CONNECT_SECONDS])
    assert rests[-1] == pytest.approx(MAX_REST_SECONDS)


def ten_at_once(instance: Instance, urls: Sequence[str], seconds: float) -> None:
    """Call these URLs in parallel. None of them responds within `seconds`, after which each call fails."""

    def call(*rest: str) -> None:
        def post() -> None:
            if rest[1:]:
                call(*rest[1:])
            else:
                instance.wait(seconds)
            raise TransientFailure("timeout")

        with pytest.raises(TransientFailure, match="timeout"):
            instance.receivers.call(rest[0], post)

    call(*urls)


def test_parallel_calls_to_an_unresponsive_host_count_as_one_failure(instance: Instance) -> None:
    ten_at_once(instance, [DARK] * 10, CONNECT_SECONDS)
    assert instance.put_off_for(DARK) == pytest.approx(2 * CONNECT_SECONDS)


def test_parallel_calls_to_slow_hosts_use_as_much_of_the_time_budget_as_one_call(instance: Instance) -> None:
    ten_at_once(instance, [f"https://{number}.example.com/" for number in range(10)], DEADLINE_SECONDS)
    assert instance.call("https://new.example.com/") == "answered"


def test_the_full_duration_of_a_call_counts_although_a_shorter_call_runs_within_it(instance: Instance) -> None:
    def post(url: str) -> str:
        instance.wait(DEADLINE_SECONDS / 2)
        code = instance.call(url, CONNECT_SECONDS)
        instance.wait(DEADLINE_SECONDS / 2 - CONNECT_SECONDS)
        return code

    for number in range(10):
        with suppress(RateLimited):
            instance.receivers.call(f"https://{number}.example.com/", partial(post, f"https://{number}.example.net/"))
    assert instance.seconds < 2 * BURST_SECONDS + DEADLINE_SECONDS


def test_one_callback_probes_whether_a_host_has_recovered_while_the_others_wait(instance: Instance) -> None:
    instance.call(DARK, CONNECT_SECONDS, answers=False)
    instance.wait(MAX_REST_SECONDS)

    def post() -> str:
        assert instance.put_off_for(DARK) == pytest.approx(DEADLINE_SECONDS)
        return "answered"

    assert instance.receivers.call(DARK, post) == "answered"
    assert instance.call(DARK) == "answered", "it is back"
    instance.call(DARK, CONNECT_SECONDS, answers=False)
    assert instance.put_off_for(DARK) == pytest.approx(2 * CONNECT_SECONDS), "what was before is forgotten"


def test_a_probe_callback_that_crashes_blocks_its_host_no_longer_than_the_deadline(
    instance: Instance,
) -> None:
    class Killed(BaseException):
        pass

    def post() -> str:
        raise Killed

    instance.call(DARK, CONNECT_SECONDS, answers=False)
    instance.wait(MAX_REST_SECONDS)
    with pytest.raises(Killed):
        instance.receivers.call(DARK, post)
    instance.wait(DEADLINE_SECONDS)
    assert instance.call(DARK) == "answered"


def test_a_slow_host_is_not_called_for_as_long_as_its_answer_took(instance: Instance) -> None:
    for _ in range(3):
        assert instance.call("https://slow.example.com/", 5) == "answered"
        assert instance.put_off_for("https://slow.example.com/") == pytest.approx(5)
        instance.wait(5)


def test_a_host_that_immediately_refuses_connections_is_called_again_without_a_pause(instance: Instance) -> None:
    for _ in range(20):
        assert instance.call("https://refuses.example.com/", 0.1, answers=False) == "unanswered"
    assert instance.call("https://refuses.example.com/") == "answered"


def test_a_host_that_immediately_refuses_connections_does_not_count_as_fast(instance: Instance) -> None:
    assert instance.call("https://refuses.example.com/", 0.1, answers=False) == "unanswered"
    instance.use_up_the_share()
    assert instance.call("https://refuses.example.com/") == "slow_receivers_put_off"


def test_pauses_of_callback_hosts_apply_by_host_name_and_port(instance: Instance) -> None:
    instance.call("https://dark.example.com/a?b=c", CONNECT_SECONDS, answers=False)
    for same in ("https://DARK.example.com/", "https://dark.example.com./x", "https://dark.example.com:443/?d"):
        assert instance.call(same) == "receiver_put_off"
    assert instance.call("https://sub.dark.example.com/") == "answered"
    assert instance.call("http://127.0.0.1:8000/", CONNECT_SECONDS) == "answered"
    assert instance.call("http://127.0.0.1:8001/") == "answered"


def test_a_fast_url_path_is_called_while_another_path_of_the_same_host_is_paused(instance: Instance) -> None:
    prompt, silent = "https://bots.example.com/prompt", "https://bots.example.com/silent"
    assert instance.call(prompt) == "answered"
    rests = list[float]()
    for _ in range(4):
        assert instance.call(silent, DEADLINE_SECONDS, answers=False) == "unanswered"
        assert instance.call(prompt) == "answered"
        rests.append(instance.put_off_for(silent))
        while instance.put_off_for(silent) > 1:
            instance.wait(0.5)
            assert instance.call(prompt) == "answered"
        instance.wait(1)
    assert rests == sorted(set(rests)), "that the others are prompt does not count for it"


def test_unresponsive_url_paths_are_not_called_more_often_because_another_path_of_the_host_is_fast(
    instance: Instance,
) -> None:
    prompt = "https://bots.example.com/prompt"
    assert instance.call(prompt) == "answered"
    called = 0
    for number in range(600):
        silent = f"https://bots.example.com/silent/{number}"
        called += instance.call(silent, CONNECT_SECONDS, answers=False) == "unanswered"
        assert instance.call(prompt) == "answered"
        instance.wait(1)
    assert called < 10


def test_an_unresponsive_url_path_is_paused_although_the_host_immediately_refuses_calls_to_another_path(
    instance: Instance,
) -> None:
    refuses, silent = "https://bots.example.com/refuses", "https://bots.example.com/silent"
    assert instance.call(refuses) == "answered"
    assert instance.call(silent, DEADLINE_SECONDS, answers=False) == "unanswered"
    assert instance.call(refuses, answers=False) == "unanswered"
    assert instance.call(silent) == "receiver_put_off"


def test_an_unresponsive_url_path_is_paused_after_another_unresponsive_path_of_the_same_host(
    instance: Instance,
) -> None:
    paths = ["https://bots.example.com/1", "https://bots.example.com/2"]
    assert instance.call(paths[0], CONNECT_SECONDS, answers=False) == "unanswered"
    instance.wait(instance.put_off_for(paths[0]))
    assert instance.call(paths[1], CONNECT_SECONDS, answers=False) == "unanswered"
    assert instance.put_off_for(paths[0]) == pytest.approx(4 * CONNECT_SECONDS)


def test_the_other_url_paths_of_a_host_are_paused_after_its_fast_path_becomes_unresponsive(instance: Instance) -> None:
    assert instance.call("https://bots.example.com/1") == "answered"
    assert instance.call("https://bots.example.com/1", CONNECT_SECONDS, answers=False) == "unanswered"
    assert instance.call("https://bots.example.com/2") == "receiver_put_off"


def test_new_url_paths_of_a_fast_host_are_called_like_known_paths(instance: Instance) -> None:
    assert instance.call("https://bots.example.com/1") == "answered"
    instance.use_up_the_share()
    assert instance.call("https://bots.example.com/2") == "answered"


def test_an_unresponsive_url_path_of_a_fast_host_counts_as_slow(instance: Instance) -> None:
    assert instance.call("https://bots.example.com/silent", CONNECT_SECONDS, answers=False) == "unanswered"
    instance.wait(MAX_REST_SECONDS)
    assert instance.call("https://bots.example.com/prompt") == "answered"
    instance.use_up_the_share()
    assert instance.call("https://bots.example.com/silent") == "slow_receivers_put_off"


def test_callbacks_to_many_unresponsive_hosts_are_postponed_and_callbacks_to_fast_hosts_are_not(
    instance: Instance,
) -> None:
    assert instance.call(PROMPT) == "answered"
    instance.use_up_the_share()
    assert instance.call(PROMPT) == "answered"
    new = "https://new.example.com/"
    assert instance.call(new) == "slow_receivers_put_off", "nobody knows whether it is prompt"
    instance.wait(instance.put_off_for(new))
    assert instance.call(new) == "answered"
    assert instance.call(new) == "answered"


def test_callbacks_to_new_hosts_are_sent_although_many_hosts_are_known_to_be_unresponsive(instance: Instance) -> None:
    silent = [f"https://{number}.example.com/" for number in range(40)]
    for host in silent:
        while instance.call(host, CONNECT_SECONDS, answers=False) != "unanswered":
            instance.wait(1)
    instance.wait(MAX_REST_SECONDS)
    assert "slow_receivers_put_off" in [instance.call(host, CONNECT_SECONDS, answers=False) for host in silent]
    assert instance.call("https://new.example.com/") == "answered"


def test_a_host_that_becomes_unresponsive_no_longer_counts_as_fast(instance: Instance) -> None:
    assert instance.call(PROMPT) == "answered"
    instance.use_up_the_share()
    assert instance.call(PROMPT, DEADLINE_SECONDS, answers=False) == "unanswered"
    assert instance.call(PROMPT) == "receiver_put_off"
    instance.use_up_the_share()
    instance.wait(2 * DEADLINE_SECONDS)
    instance.use_up_the_share()
    assert instance.call(PROMPT) == "slow_receivers_put_off"


def test_the_number_of_hosts_kept_in_memory_is_limited(instance: Instance) -> None:
    instance.call(DARK, CONNECT_SECONDS, answers=False)
    for number in range(2 * MAX_KNOWN):
        assert instance.call(f"https://{number}.example.com/", 0) == "answered"
        assert instance.call(PROMPT, 0) == "answered"
    assert len(instance.receivers._known) == MAX_KNOWN  # noqa: SLF001
    instance.use_up_the_share()
    assert instance.call("https://new.example.com/") == "slow_receivers_put_off"
    assert instance.call(PROMPT) == "answered", "it has been called all the time"


def test_a_clock_that_is_set_back_delays_no_callback(instance: Instance) -> None:
    instance.wait(3_600)
    assert instance.call(PROMPT, -3_600) == "answered"
    assert instance.call(PROMPT) == "answered"
    assert instance.call("https://new.example.com/") == "answered"


def test_a_clock_that_is_set_back_and_forth_gives_no_more_time_to_slow_hosts(instance: Instance) -> None:
    instance.use_up_the_share()
    for seconds in (-3_600, 3_600):
        instance.wait(seconds)
        assert instance.call("https://new.example.com/") == "slow_receivers_put_off"


Call = tuple[int, float, bool]
CALLS = st.tuples(st.integers(0, 200), st.sampled_from([PROMPT_SECONDS + 0.1, CONNECT_SECONDS, 10]), st.booleans())
BATCHES = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1, 10]), st.lists(CALLS, min_size=1, max_size=10)), min_size=20, max_size=40
)


@given(BATCHES)
def test_slow_hosts_use_a_limited_share_of_the_time_in_any_period(
    batches: list[tuple[float, list[Call]]],
) -> None:
    """Each batch calls up to ten of any number of hosts in parallel, and takes as long as the slowest call."""
    instance, held = Instance(), list[tuple[float, float]]()
    for pause, calls in batches:
        instance.wait(pause)
        began = instance.seconds
        _side_by_side(instance, sorted(calls, key=lambda call: call[1]))
        held.append((began, instance.seconds))
    for (first, _), (_, last) in combinations_with_replacement(held, 2):
        slow = sum(end - begin for begin, end in held if first <= begin and end <= last)
        assert slow <= BURST_SECONDS + SHARE * (last - first) + DEADLINE_SECONDS + ROUNDING


def _side_by_side(instance: Instance, calls: list[Call]) -> None:
    """Start all calls now; `calls` begins with the shortest. A shorter call is made, and ends, within a longer one."""
    began = instance.now

    def call(rest: list[Call]) -> None:
        if not rest:
            return
        *shorter, (host, took, answers) = rest

        def post() -> None:
            call(shorter)
            instance.now = max(instance.now, began + timedelta(seconds=took))
            if not answers:
                raise TransientFailure("timeout")

        try:
            instance.receivers.call(f"https://{host}.example.com/", post)
        except RateLimited:
            call(shorter)
        except TransientFailure:
            pass

    call(calls)


def test_a_clock_that_is_set_back_does_not_lengthen_the_pause_of_a_callback_host(instance: Instance) -> None:
    assert instance.call(DARK, DEADLINE_SECONDS, answers=False) == "unanswered"
    instance.wait(-3_600)
    assert instance.put_off_for(DARK) <= MAX_REST_SECONDS
    instance.wait(MAX_REST_SECONDS)
    assert instance.call(DARK) == "answered"


def test_a_clock_that_is_set_back_does_not_count_as_time_that_slow_callback_hosts_took(instance: Instance) -> None:
    assert instance.call("https://one.example.com/", 5) == "answered"
    instance.wait(-3_600)
    assert instance.call("https://two.example.com/", 5) == "answered"
    assert instance.call("https://three.example.com/", 5) == "answered"
