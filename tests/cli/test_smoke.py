"""Tests when `assistance smoke` succeeds, and what it reports otherwise."""

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from assistance.errors import TableUnavailable, Unreadable
from cli import requests, smoke, takes
from cli.errors import Failure
from cli.smoke import BODY, Result, watch_each
from cli.stack import Stack

DELIVERED = {"status": "delivered", "deliveries": [{"channel": "slack", "status": "delivered"}]}
UNDER_WAY = {"status": "retrying", "deliveries": [{"channel": "slack", "status": "retrying", "last_error": "timeout"}]}
STOOD_IN_FOR = {
    "status": "delivered",
    "fallback": {"channel": "email", "failed_channel": "slack", "error": "not_in_channel"},
    "deliveries": [
        {"channel": "slack", "status": "failed", "last_error": "not_in_channel"},
        {"channel": "email", "status": "delivered"},
    ],
}


def results(answers: Mapping[str, Sequence[Mapping[str, Any] | Failure]], looks: int = 3) -> list[Result]:
    """The results if the status calls for each topic return these answers in turn, and then the last one again.

    `looks`: the number of status calls for a topic until the deadline.
    """
    left, more = {topic: list(each) for topic, each in answers.items()}, iter([True] * (looks - 1))

    def read(topic: str) -> Mapping[str, Any]:
        answer = left[topic].pop(0) if len(left[topic]) > 1 else left[topic][0]
        if isinstance(answer, Failure):
            raise answer
        return answer

    return list(watch_each(list(answers), lambda topic: topic, read, lambda: next(more, False)))


def test_the_smoke_command_waits_until_the_test_request_of_each_topic_is_delivered() -> None:
    assert results({"sales": [UNDER_WAY, UNDER_WAY, DELIVERED], "pricing": [DELIVERED]}) == [
        Result("pricing", "pricing", ("slack",), None),
        Result("sales", "sales", ("slack",), None),
    ]


def test_the_smoke_command_fails_if_the_fallback_delivered_and_names_the_channel_that_failed() -> None:
    [result] = results({"sales": [STOOD_IN_FOR]})
    assert (result.by, result.problem) == (("email",), "not delivered on its own channel, slack: not_in_channel")


def test_the_smoke_command_fails_if_a_test_request_is_neither_delivered_nor_failed_at_the_deadline() -> None:
    [result] = results({"sales": [UNDER_WAY]})
    assert result.problem == "not delivered in time (status retrying), slack: timeout"


def test_the_smoke_command_makes_few_calls_until_its_deadline_because_bots_share_the_quota_of_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, looks = [0.0], list[str]()
    monkeypatch.setattr(smoke, "monotonic", lambda: now[0])
    monkeypatch.setattr(smoke, "sleep", lambda seconds: now.append(now.pop() + seconds))

    def read(request_id: str) -> Mapping[str, Any]:
        looks.append(request_id)
        return UNDER_WAY

    [result] = watch_each(["sales"], lambda topic: topic, read, smoke.patience(240))
    assert (result.problem or "").startswith("not delivered in time")
    assert now == [240], "the last look comes at the deadline"
    assert len(looks) <= 40


def test_the_smoke_command_passes_although_one_status_call_gets_no_response() -> None:
    lost = Failure("no answer from the API (TimeoutError): ask again")
    assert [it.problem for it in results({"sales": [lost, DELIVERED]})] == [None]
    assert "no answer from the API" in str(results({"sales": [lost]})[0].problem)


def test_the_smoke_command_reports_the_other_topics_although_the_api_refuses_the_request_of_one_topic() -> None:
    def send(topic: str) -> str:
        if topic == "sales":
            raise Failure("the API answered 403: Forbidden")
        return topic

    found = list(watch_each(["sales", "pricing"], send, lambda _: DELIVERED, lambda: False))
    assert [(it.topic, it.problem) for it in found] == [("sales", "the API answered 403: Forbidden"), ("pricing", None)]


@pytest.mark.parametrize("error", [TableUnavailable("AccessDeniedException"), Unreadable("topic: string_type")])
def test_the_smoke_command_reports_every_topic_although_a_test_request_cannot_be_taken(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def take(*_: object) -> None:
        raise error

    routes = json.dumps({topic: {"channels": ["slack"], "fallback": "email"} for topic in ("sales", "pricing")})
    stack = SimpleNamespace(environment=lambda _: {"ROUTES": routes, "TAKE": "true"}, requests=lambda: None)
    monkeypatch.setattr(requests, "send", lambda _, body, __: {"id": body["topic"]})
    monkeypatch.setattr(requests, "fetch", lambda *_: DELIVERED)
    monkeypatch.setattr(takes, "take", take)
    found = list(smoke.run(cast("Stack", stack), lambda: False))
    assert [(it.topic, it.by) for it in found] == [("sales", ("slack",)), ("pricing", ("slack",))]
    assert all("not taken" in str(it.problem) for it in found)


def test_the_text_of_a_smoke_test_request_says_that_it_is_a_test() -> None:
    assert "test" in BODY["description"]
    assert "nobody needs to answer" in BODY["description"]
