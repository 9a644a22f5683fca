"""Measures the processor time of warm invocations, without the time in which AWS and Slack would answer.

It compares our functions with those of `naive.py`. AWS and Slack are simulated in the same process, without sockets.
The time that botocore needs to make a call and to parse its answer counts, because a function with fewer calls needs
less.
"""

import cProfile
import os
import pstats
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http.client import HTTPMessage
from io import BytesIO, TextIOBase
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit
from urllib.request import Request
from urllib.response import addinfourl

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from assistance.routing import Topic
from benchmarks import events, timing
from benchmarks.fake_services import SLACK_PATH, SWEPT_TABLE, answer
from infra.bundle import FUNCTIONS

ROUNDS = 9
REPEAT = {
    "accept": 50, "read": 50, "consume 10, by email": 5, "consume 10, by Slack": 5,
    "take, by Slack": 20, "take, by a link": 20,
}  # fmt: skip
TOP = 8
ABOUT = f"""\
The table shows the processor time of an invocation, all threads together, without the time in which the simulated AWS
and Slack answer: no socket is opened. botocore's time to make a call counts; our functions let it skip the validation
of parameters, as on Lambda. The times are medians over {ROUNDS} rounds. *Naive* is the design of `naive.py`, with the
defaults of Powertools. Ours sends the messages of a batch in parallel, the naive design one after the other: threads
cost processor time, but save elapsed time.
"""
URL = "http://127.0.0.1:9"  # No server listens there.


class Context:
    """The Lambda context, with the members that our functions use."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:function"
    aws_request_id = "invocation"

    def get_remaining_time_in_millis(self) -> int:
        """The milliseconds until the time-out, as on Lambda; here always a minute."""
        return 60_000


class Raw(BytesIO):
    """The body of an answer, as botocore reads it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        """Yield the whole body as one chunk."""
        yield self.read()


class Discard(TextIOBase):
    """A stream that drops the functions' log, so that the benchmark does not measure the writing of the log."""

    def write(self, text: str, /) -> int:
        """Drop the text."""
        return len(text)


_answering: list[float] = []
"""The processor seconds in which `fake_services.py` made answers, to be subtracted."""


def _answer(url: str, headers: Mapping[str, str], body: bytes) -> tuple[str, bytes]:
    began = time.thread_time()
    answered = answer(urlsplit(url).path, headers, body)
    _answering.append(time.thread_time() - began)
    return answered


def _aws(_: object, request: Any) -> AWSResponse:  # noqa: ANN401
    body = request.body or b""
    content = body.encode() if isinstance(body, str) else bytes(body)
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    media_type, answered = _answer(request.url, headers, content)
    return AWSResponse(request.url, 200, HTTPHeaders.from_dict({"content-type": media_type}), Raw(answered))


def _slack(request: Request, **_: object) -> addinfourl:
    media_type, answered = _answer(request.full_url, {}, b"")
    headers = HTTPMessage()
    headers["Content-Type"] = media_type
    return addinfourl(BytesIO(answered), headers, request.full_url, 200)


@contextmanager
def no_network() -> Iterator[None]:
    """Answer calls of botocore and of Slack's SDK in this process, instead of opening a socket.

    Raises a `RuntimeError` if the functions' AWS clients would validate parameters, as they do outside Lambda.
    """
    with (
        patch("botocore.httpsession.URLLib3Session.send", _aws),
        patch("slack_sdk.web.base_client.urlopen", _slack),
        patch("slack_sdk.webhook.client.urlopen", _slack),
        patch.dict(os.environ, events.environment(URL, slack_api_url=URL + SLACK_PATH, table=SWEPT_TABLE)),
    ):
        from assistance.platform import aws  # noqa: PLC0415 # it reads its environment at import

        config: Any = aws.QUICK  # botocore's types lack the attribute
        if config.parameter_validation:
            message = "assistance.platform.aws was imported before, without the environment of a function on Lambda"
            raise RuntimeError(message)
        yield


@dataclass(frozen=True, slots=True)
class Invocation:
    """An invocation to measure: our function and, if there is one, the naive function.

    `event` makes an event with the current time: for a message that is a minute old, the consumer also reads the
    record, and Slack's signatures expire.
    """

    event: Callable[[], Any]
    ours: Callable[[Any], Any]
    naive: Callable[[Any], Any] | None = None


def invocations() -> dict[str, Invocation]:
    """The invocations to measure, by name. The functions are imported here: they read their environment at import."""
    import api.handler  # noqa: PLC0415
    import email_consumer.handler  # noqa: PLC0415
    import reconciler.handler  # noqa: PLC0415
    import slack_consumer.handler  # noqa: PLC0415
    import slack_interactions.handler  # noqa: PLC0415
    import stream_producer.handler  # noqa: PLC0415
    import take_page.handler  # noqa: PLC0415
    from benchmarks import naive  # noqa: PLC0415
    from reconciler.outbox import publish_late  # noqa: PLC0415

    context: Any = Context()
    publisher, grace = reconciler.handler.publisher(), timedelta(minutes=1)

    def in_context(handler: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
        return lambda event: handler(event, context)

    accepting, consuming = in_context(api.handler.lambda_handler), in_context(slack_consumer.handler.lambda_handler)
    return {
        "accept": Invocation(events.accept, accepting, in_context(naive.api)),
        "read": Invocation(events.read, accepting, in_context(naive.app.resolve)),
        "publish 100 records": Invocation(
            partial(events.stream, 100), in_context(stream_producer.handler.lambda_handler), in_context(naive.producer)
        ),
        "consume 10, by email": Invocation(
            partial(events.queue, Topic.PRICING, 10),
            in_context(email_consumer.handler.lambda_handler),
            in_context(naive.consumer),
        ),
        "consume 10, by Slack": Invocation(partial(events.queue, Topic.SALES, 10), consuming),
        "take, by Slack": Invocation(partial(events.press, URL), in_context(slack_interactions.handler.lambda_handler)),
        "take, by a link": Invocation(events.take, in_context(take_page.handler.lambda_handler)),
        "sweep 1,000": Invocation(
            dict,
            lambda _: publish_late(publisher, grace, context.get_remaining_time_in_millis),
            in_context(naive.sweep),
        ),
    }


class Inline(Executor):
    """An executor that runs each task immediately in the calling thread, so that the profiler sees one task at a time.

    It can't replace a consumer's threads, which wait for each other.
    """

    def __init__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., Any], /, *args: Any, **named: Any) -> "Future[Any]":  # noqa: ANN401
        """Run the task, and return its completed future."""
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **named))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


def profile(invoke: Callable[[], Any], times: int) -> str:
    """Profile an invocation. Returns each package's share of the time, and the functions that need most, as Markdown.

    `times`: how many invocations are profiled. The time of Python's built-in functions counts for their callers.
    """
    profiler, answers = cProfile.Profile(time.process_time), list[tuple[str, bytes]]()
    given = answer

    def record(*call: Any) -> tuple[str, bytes]:  # noqa: ANN401
        answers.append(given(*call))
        return answers[-1]

    with patch("assistance.engine.publisher.KeptThreads", Inline):
        with patch("benchmarks.warm.answer", record):
            invoke()
        for _ in range(times):
            again = iter(answers)
            with patch("benchmarks.warm.answer", lambda *_, again=again: next(again)):
                profiler.enable()
                invoke()
                profiler.disable()
    own: Counter[tuple[str, str]] = Counter()
    stats: Any = pstats.Stats(profiler)
    for (path, _, name), (_, _, alone, _, callers) in stats.stats.items():
        if path == "~":
            for (caller_path, _, caller), (_, _, share, _) in callers.items():
                own[caller_path, caller] += share
        else:
            own[path, name] += alone
    # Leave out the time of the simulated answers.
    own = Counter({key: spent for key, spent in own.items() if "/benchmarks/" not in key[0]})
    whole = sum(own.values())
    packages: Counter[str] = Counter()
    for (path, _), spent in own.items():
        packages[_package(path)] += spent
    shares = ", ".join(f"{name} {spent / whole:.0%}" for name, spent in packages.most_common(6))
    functions = [f"`{_module(path)}:{name}` {spent / whole:.1%}" for (path, name), spent in own.most_common(TOP)]
    return f"{shares}. Functions with the largest shares of their own: {', '.join(functions)}."


def _module(path: str) -> str:
    for root in sorted(map(str, sys.path), key=len, reverse=True):
        if root and path.startswith(root):
            return path.removeprefix(root).strip("/").removesuffix(".py").replace("/", ".")
    return Path(path).stem


def _package(path: str) -> str:
    if str(FUNCTIONS) in path:
        return "**ours**"
    return _module(path).split(".")[0] if "site-packages" in path else "Python"


def seconds(invoke: Callable[[], Any], repeat: int) -> float:
    """The average processor seconds of `repeat` invocations, over all threads, without the time to simulate answers."""
    _answering.clear()
    began = time.process_time()
    for _ in range(repeat):
        invoke()
    return (time.process_time() - began - sum(_answering)) / repeat


def measured(event: Callable[[], Any], invoke: Callable[[Any], Any], repeat: int) -> float:
    """The average processor seconds of `repeat` invocations with one new event, without the time to make the event."""
    return seconds(partial(invoke, event()), repeat)


def section(rounds: int = ROUNDS) -> str:
    """Measure the warm invocations in so many rounds, and return the page's section about them as Markdown."""
    rows, profiles = [], []
    with no_network(), redirect_stdout(Discard()):
        for name, invocation in invocations().items():
            repeat, naive = REPEAT.get(name, 1) if rounds > 1 else 1, invocation.naive
            both = {"ours": partial(measured, invocation.event, invocation.ours, repeat)}
            if naive:
                both["naive"] = partial(measured, invocation.event, naive, repeat)
            samples = timing.in_turns(both, rounds)
            compared = f"{timing.ratio(samples['ours'], samples['naive']):.2f}" if naive else ""
            theirs = f"{median(samples['naive']) * 1e6:,.0f}" if naive else ""
            rows.append([name, f"{median(samples['ours']) * 1e6:,.0f}", theirs, compared])
            profiles.append(f"- **{name}**: {profile(partial(invocation.ours, invocation.event()), repeat)}")
    compared = timing.table(["", "ours, µs", "naive, µs", "ratio"], rows)
    return "\n\n".join((ABOUT, compared, "Our processor time by package and by function:", "\n".join(profiles)))
