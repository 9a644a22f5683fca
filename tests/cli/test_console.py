"""Tests the server of `assistance console` for a deployed stage, with moto for AWS."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from assistance.routing import Channel
from assistance.store.requests import request_key
from cli import console, hints, stack
from cli.stack import Stack
from console.reader import Reader
from console.server import serving
from local import http
from local.wait import until
from tests.cli.steps import Operator

NAME = "assistance-production"
ROUTES = {"sales": {"channels": ["slack"], "fallback": "email"}, "pricing": {"channels": ["email"], "fallback": None}}
Call = Callable[..., http.Answer]


@pytest.fixture
def opened(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Call]]:
    """Returns a function that serves the console. It takes options, and returns a function that calls the console."""
    monkeypatch.setattr(Stack, "environment", lambda *_: {"ROUTES": json.dumps(ROUTES)})
    with ExitStack() as running:

        def serve(*, write: bool = False, with_description: bool = False) -> Call:
            deployed = stack.deployed(NAME, profile=None, region=None)
            site = console.site(deployed, write=write, with_description=with_description)
            address, _, token = running.enter_context(serving(site, 0)).partition("/#token=")
            headers = {"X-Console": token}

            def call(path: str, body: object = None, headers: dict[str, str] = headers) -> http.Answer:
                return http.call("GET" if body is None else "POST", f"{address}/api/{path}", body=body, headers=headers)

            return call

        yield serve


def letters(call: Call, number: int = 1) -> list[dict[str, Any]]:
    """The dead letters that the console shows, once it shows this number of them."""

    def found() -> list[dict[str, Any]] | None:
        seen: list[dict[str, Any]] = call("state").json["dead_letters"]["letters"]
        return seen if len(seen) == number else None

    return until("the dead letters are seen", 20, found)


def test_the_console_names_its_stage_and_omits_customer_text(operator: Operator, opened: Callable[..., Call]) -> None:
    request_id = operator.create_dead_letter(description="my secret")
    call = opened()
    assert call("stage").json["stack"] == NAME
    [letter] = letters(call)
    assert (letter["request_id"], letter["description"], letter["error"]["code"]) == (request_id, None, "dead_lettered")
    assert letter["expires_at"] > letter["sent_at"]
    shown = call(f"requests/{request_id}")
    assert shown.json["events"][0]["state"] == "accepted"
    assert not any(b"my secret" in call(path).body for path in ("stage", "state", f"requests/{request_id}"))
    assert call(f"state?q={request_id}").json["page"]["requests"][0]["id"] == request_id
    assert call("state?q=secret").json["page"]["requests"] == []
    with_texts = opened(with_description=True)
    assert with_texts(f"requests/{request_id}").json["description"] == "my secret"
    assert letters(with_texts)[0]["description"] == "my secret"


def test_a_dead_letter_in_the_console_shows_what_has_become_of_its_request_since_it_was_read(
    operator: Operator, opened: Callable[..., Call]
) -> None:
    request_id = operator.create_dead_letter()
    call = opened()
    assert not letters(call)[0]["reached"]["words"].endswith("Anna handles it.")
    assert operator.run("take", request_id, "--as", "Anna").exit_code == 0
    until("the take is shown", 20, lambda: letters(call)[0]["reached"]["words"].endswith("Anna handles it.") or None)


def test_the_console_shows_a_take_of_a_request_with_a_dead_letter_although_another_such_request_is_unreadable(
    operator: Operator, opened: Callable[..., Call]
) -> None:
    sound, damaged = operator.create_dead_letter(), operator.create_dead_letter()
    call = opened()
    assert all(letter["reached"] for letter in letters(call, 2))
    table = operator.cloud.table
    table.put_item(Item=table.get_item(Key=request_key(damaged))["Item"] | {"topic": "x" * 300})
    assert operator.run("take", sound, "--as", "Anna").exit_code == 0

    def shown() -> bool | None:
        return any(letter["reached"]["words"].endswith("Anna handles it.") for letter in letters(call, 2)) or None

    until("the take is shown", 20, shown)


def test_the_console_refuses_every_changing_action_unless_it_was_started_with_write_access(
    operator: Operator, opened: Callable[..., Call]
) -> None:
    request_id = operator.create_dead_letter()
    call = opened()
    for act in ("redrive", "discard", "resend", "take", "release", "fault", "send", "kill"):
        body = {"id": request_id, "name": "Anna", "channel": "slack", "confirm": NAME}
        assert call(act, body).status == 404
    assert len(letters(call)) == 1


def test_a_changing_action_needs_the_name_of_the_stage_and_is_logged_with_the_operators_name(
    operator: Operator, opened: Callable[..., Call], capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = operator.create_dead_letter(description="help me")
    call = opened(write=True)
    [letter] = letters(call)
    for confirm in ({}, {"confirm": ""}, {"confirm": "assistance-dev"}):
        answer = call("redrive", {"ids": [letter["id"]], **confirm})
        assert (answer.status, NAME in answer.json["error"]) == (400, True)
    assert call("redrive", {"ids": [letter["id"]], "confirm": NAME}).json == {"result": "1 redriven."}
    operator.deliver(Channel.SLACK)
    assert operator.posted("help me") == 1
    letters(call, 0)
    assert call("take", {"id": request_id, "name": "Anna", "confirm": NAME}).json == {
        "result": "Anna has taken the request."
    }
    second = call("take", {"id": request_id, "name": "Ben", "confirm": NAME})
    assert (second.status, "Anna has taken" in second.json["error"]) == (409, True)
    assert call("resend", {"id": request_id, "channel": "slack", "confirm": NAME}).status == 200
    assert call("resend", {"id": request_id, "channel": "pager", "confirm": NAME}).status == 400
    audited = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert [each["message"] for each in audited] == ["redriven", "take", "take", "resend"]
    assert [each["name"] for each in audited if each["message"] == "take"] == ["Anna", "Ben"]
    assert {each["stack"] for each in audited} == {NAME}
    assert all(each["operator"].startswith("arn:aws:") for each in audited)


@pytest.mark.parametrize("act", ["take", "release"])
@pytest.mark.parametrize(("name", "words"), [("\u200b", "a visible character"), ("x" * 61, "at most 60 characters")])
def test_the_console_says_why_it_refuses_a_persons_name(
    operator: Operator, opened: Callable[..., Call], act: str, name: str, words: str
) -> None:
    request_id = operator.create_dead_letter()
    refused = opened(write=True)(act, {"id": request_id, "name": name, "confirm": NAME})
    assert (refused.status, words in refused.json["error"]) == (409, True)


def test_commands_in_the_consoles_errors_name_the_stack_that_the_console_shows(
    operator: Operator, opened: Callable[..., Call]
) -> None:
    request_id = operator.create_dead_letter()
    hints.remember("--stack", NAME, "--region", "eu-central-1")
    call = opened(write=True)
    hints.remember()
    for name in ("Anna", "Ben"):
        refused = call("take", {"id": request_id, "name": name, "confirm": NAME})
    assert f"'assistance --stack {NAME} --region eu-central-1 release {request_id}'" in refused.json["error"]


def test_the_console_shows_the_cost_of_its_aws_calls_and_loads_no_request_list_for_the_view_of_one_request(
    operator: Operator, opened: Callable[..., Call]
) -> None:
    operator.cloud.post("sales", "help")
    call = opened()
    first, alone = call("state").json, call("state?view=request").json
    assert first["page"]["requests"]
    assert alone["page"] is None
    assert 0 < first["cost"]["calls"] < alone["cost"]["calls"]
    assert 0 < first["cost"]["dollars"] < alone["cost"]["dollars"] < 0.001


def test_the_console_prints_an_error_that_it_does_not_foresee(
    opened: Callable[..., Call], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    call = opened()
    monkeypatch.setattr(Reader, "state", fail)
    with pytest.raises(http.NoAnswer):
        call("state")
    assert "ZeroDivisionError" in until("the error is printed", 20, lambda: capsys.readouterr().err)


@pytest.mark.parametrize("headers", [{}, {"X-Console": "guessed"}, {"Origin": "http://evil.example"}])
def test_the_console_refuses_calls_without_the_token_and_calls_from_other_web_pages(
    opened: Callable[..., Call], headers: dict[str, str]
) -> None:
    call = opened(write=True)
    for path in ("stage", "state", "requests/01a21dcf-0000-7000-8000-000000000000"):
        assert call(path, headers=headers).status == 403
    assert call("redrive", {"confirm": NAME}, headers=headers).status == 403


@pytest.mark.parametrize("before", ["yesterday", "2026-13-01"])
def test_a_call_for_a_page_of_the_request_list_with_an_invalid_start_position_gets_400(
    opened: Callable[..., Call], before: str
) -> None:
    assert opened()(f"state?before={before}").status == 400
