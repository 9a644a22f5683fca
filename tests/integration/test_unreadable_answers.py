"""Tests arbitrary HTTP responses of providers: consumers parse them or raise a classified failure."""

import gc
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from slack_sdk import WebClient

from assistance.errors import DeliveryError, TransientFailure
from callback_consumer.egress import Egress
from slack_consumer import web_api
from teams_consumer import handler as teams
from teams_consumer import secret as teams_secret
from tests.fuzz_settings import DEEP, FUZZED, JSON, LONG_NUMBER
from tests.logs import shown
from tests.receiver import Receiver

STATUS_LINES = st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.1 429 Slow", "HTTP/1.1 503 Down", "HTTP/1.1 302 Found"])
HEADERS = st.lists(
    st.sampled_from(
        [
            "Content-Type: application/json; charset=utf-8",
            "Content-Type: application/json; charset=rot13",
            "Content-Type: application/json; charset*1x=y",
            "Content-Type: application/gzip",
            "Content-Type: text/html; charset=",
            "Content-Length: x",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: chunked",
            "Location: https://[x/y",
            "Retry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
            "Retry-After: +9999999999999",
            "no header",
            "\ud83d\ude42: \u2011",
            ": nameless",
        ]
    )
    | st.text(st.characters(codec="latin-1"), max_size=20),
    max_size=3,
)
BODIES = (
    st.binary(max_size=20)
    | JSON.map(json.dumps).map(str.encode)
    | st.sampled_from([DEEP.encode(), LONG_NUMBER.encode(), b'{"ok": true, "n": ' + LONG_NUMBER.encode() + b"}"])
)
ANSWERS = st.builds(
    lambda line, headers, body: "\r\n".join([line, *headers, "", ""]).encode("utf-8", "replace") + body,
    STATUS_LINES | st.text(max_size=30),
    HEADERS,
    BODIES,
)
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
CANARY = "C4N4RY"
EGRESS = Egress(loopback=True)


@pytest.fixture(scope="module")
def provider() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@contextmanager
def typed() -> Iterator[None]:
    """Catch classified failures (`DeliveryError`), and check that they contain no secret. Others are raised."""
    try:
        yield
    except DeliveryError as error:
        failure = error
    else:
        return
    assert CANARY not in shown(failure)


@pytest.fixture
def sockets_left_open() -> Iterator[None]:
    """Allow an unclosed socket: urllib does not close it if the target of a redirect can't be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.mark.usefixtures("sockets_left_open")
@FUZZED
@given(answer=ANSWERS)
@example(JSON_HEAD + DEEP.encode())
@example(JSON_HEAD + LONG_NUMBER.encode())
@example(JSON_HEAD + b"\xff\xfe")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}")
@example(b"HTTP/1.1 429 Slow\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}")
@example(JSON_HEAD + b"[5]")
@example(b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=rot13\r\n\r\n{}")
@example(b"HTTP/1.1 201 OK\r\nContent-Type: application/gzip\r\n\r\n{}")
@example(b"HTTP/1.1 302 Found\r\nLocation: https://[x/y\r\n\r\n")
@example(b"HTTP/1.1 429 Slow\r\nRetry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\r\n\r\n{}")
def test_any_response_of_slack_yields_either_an_object_or_a_classified_failure(
    provider: Receiver, answer: bytes
) -> None:
    provider.answers = [answer]
    with typed():
        assert isinstance(web_api.call(WebClient.auth_test, f"{provider.url}/", f"xoxb-{CANARY}").data, dict)


@pytest.mark.parametrize("body", [DEEP, LONG_NUMBER, "[5]", "\ufeff{}"])
def test_the_outcome_of_an_attempt_is_unknown_after_an_unreadable_response_of_slack(
    provider: Receiver, body: str
) -> None:
    provider.answers = [JSON_HEAD + body.encode()]
    with pytest.raises(TransientFailure) as caught:
        web_api.call(WebClient.auth_test, f"{provider.url}/", "xoxb-1")
    assert caught.value.in_doubt


@FUZZED
@given(answer=ANSWERS)
@example(b"HTTP/1.1 429 Slow\r\nRetry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\r\n\r\n")
def test_any_response_of_a_teams_workflow_yields_either_a_status_or_a_classified_failure(
    provider: Receiver, answer: bytes
) -> None:
    provider.answers = [answer]
    url = teams_secret.read(f"{provider.url}&sig={CANARY}", loopback=True)
    with typed():
        assert isinstance(teams.post(url, b"{}"), str)


@FUZZED
@given(answer=ANSWERS)
def test_any_response_of_a_bot_to_a_callback_yields_either_a_status_or_a_classified_failure(
    provider: Receiver, answer: bytes
) -> None:
    provider.answers = [answer]
    with typed():
        assert isinstance(EGRESS.post(provider.url, b"{}", {"webhook-signature": CANARY}).status, int)
