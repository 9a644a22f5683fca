"""Tests that an answer which is not the API's own, but a proxy's, say, becomes a one-line error, not a traceback."""

from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest

from cli import requests
from cli.errors import Failure
from cli.stack import Stack
from tests.cli.steps import Operator
from tests.http_server import serving


class Proxy(BaseHTTPRequestHandler):
    """A server that sends these bytes to every caller, and ends the connection. `paths`: those called so far."""

    answer: bytes
    paths: list[str]

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.wfile.write(self.answer)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def proxied(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setattr(Proxy, "paths", [], raising=False)
    key = operator.session.client("apigateway").create_api_key(name="bot", value="k" * 32)["id"]
    with serving(Proxy) as url:
        yield Stack("assistance-dev", operator.session, None, operator.outputs | {"ApiUrl": url, "ApiKeyId": key})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "no answer from the API (JSONDecodeError)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "no answer from the API"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{}", "no answer from the API (IncompleteRead)"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no answer from the API (BadStatusLine)"),
        (
            b"HTTP/1.1 307 No\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
            "the API answered 307: no reason given",
        ),
        (b'HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\n"no"', "the API answered 403: no reason given"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 60\r\n\r\n{}", "the API answered 403: no reason given"),
        (b'HTTP/1.1 422 No\r\nContent-Length: 14\r\n\r\n{"errors":[1]}', "the API answered 422: no reason given"),
    ],
)
def test_an_answer_that_is_not_the_apis_is_reported_as_a_failure(
    proxied: Stack, monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    monkeypatch.setattr(Proxy, "answer", answer, raising=False)
    with pytest.raises(Failure) as failure:
        requests.fetch(proxied, "any")
    assert said in str(failure.value)


def test_the_api_key_is_not_sent_to_the_target_of_a_redirect(proxied: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    redirect = b"HTTP/1.1 307 No\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    monkeypatch.setattr(Proxy, "answer", redirect, raising=False)
    with pytest.raises(Failure, match="the API answered 307"):
        requests.fetch(proxied, "any")
    assert Proxy.paths == ["/assistance-requests/any"]


@pytest.mark.parametrize(
    ("resolves", "called"), [(True, "/domain/assistance-requests/any"), (False, "/gateway/assistance-requests/any")]
)
def test_commands_call_the_address_of_api_gateway_until_the_custom_domain_has_its_dns_record(
    proxied: Stack,
    monkeypatch: pytest.MonkeyPatch,
    resolves: bool,  # noqa: FBT001
    called: str,
) -> None:
    monkeypatch.setattr(Proxy, "answer", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", raising=False)
    monkeypatch.setattr(Stack, "resolves", lambda _: resolves)
    url = proxied.output("ApiUrl")
    stack = replace(proxied, outputs={**proxied.outputs, "ApiUrl": f"{url}/domain", "ApiGatewayUrl": f"{url}/gateway"})
    requests.fetch(stack, "any")
    assert Proxy.paths == [called]


@pytest.mark.parametrize("key", ["chat 7\n", "ch\u00e4t-7", "chat\udcff"])
def test_a_key_that_no_header_can_hold_is_not_reported_as_an_api_that_does_not_answer(proxied: Stack, key: str) -> None:
    with pytest.raises(Failure, match="nothing was sent: the Idempotency-Key"):
        requests.send(proxied, {}, key)


def test_the_advice_to_repeat_a_call_quotes_the_key_for_the_shell(
    proxied: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Proxy, "do_POST", lambda _: None, raising=False)
    with pytest.raises(Failure, match="--idempotency-key 'chat 7'; the API"):
        requests.send(proxied, {}, "chat 7")
