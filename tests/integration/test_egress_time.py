"""Tests that neither a receiver nor its name server can delay a callback beyond its time limits."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from assistance.errors import TransientFailure
from callback_consumer import egress
from callback_consumer.egress import MAX_HEAD_BYTES, Answer, Egress

PUBLIC = ["8.8.8.8", "2606:2800::1"]
FOREVER = 30
"""Seconds that `never` waits. A test waits so long only if it fails."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short limits, for tests in which a callback must exceed one. Elsewhere a busy machine might exceed them."""
    monkeypatch.setattr(egress, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(egress, "DEADLINE_SECONDS", 0.3)


@dataclass
class Says:
    """A receiver that at each read, after `pause` seconds, sends the next of `pieces`, and repeats the last forever."""

    pieces: list[bytes]
    pause: float = 0
    reads: int = 0
    sent: list[bytes] = field(default_factory=list)
    transport: Any = None

    async def connect(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        self.transport = self
        return self, self

    async def read(self, most: int) -> bytes:
        self.reads += 1
        assert self.reads < 10_000, "the callback never stops reading"
        await asyncio.sleep(self.pause)
        return (self.pieces.pop(0) if len(self.pieces) > 1 else self.pieces[0])[:most]

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    async def drain(self) -> None:
        pass

    def abort(self) -> None:
        pass


async def never(*_: object, **__: object) -> Any:  # noqa: ANN401
    await asyncio.sleep(FOREVER)
    raise AssertionError


def post(**parts: Any) -> Answer:  # noqa: ANN401
    return Egress(**{"resolve": lambda *_: PUBLIC, **parts}).post("https://bot.example.com/", b"{}", {})


def failed(**parts: Any) -> TransientFailure:  # noqa: ANN401
    with pytest.raises(TransientFailure) as failure:
        post(**parts)
    return failure.value


@pytest.mark.usefixtures("short")
def test_a_callback_to_a_host_that_accepts_no_connection_fails_before_the_deadline_as_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress, "DEADLINE_SECONDS", FOREVER)
    failure = failed(connect=never)
    assert (failure.code, failure.in_doubt) == ("timeout", False)


@pytest.mark.usefixtures("short")
def test_a_callback_stops_waiting_for_an_endless_dns_query() -> None:
    released, returned = threading.Event(), list[str]()

    def resolve(*_: object) -> list[str]:
        released.wait(FOREVER)
        returned.append("late")
        return PUBLIC

    failure = failed(resolve=resolve, connect=never)
    assert not returned
    released.set()
    assert (failure.code, failure.in_doubt) == ("timeout", False)


def test_a_slow_dns_query_for_one_callback_host_delays_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "CONNECT_SECONDS", 0.02)
    released = threading.Event()

    def resolve(*_: object) -> list[str]:
        released.wait(FOREVER)
        return PUBLIC

    for _ in range(40):
        failed(resolve=resolve, connect=never)
    monkeypatch.setattr(egress, "CONNECT_SECONDS", FOREVER)
    assert post(connect=Says([b"HTTP/1.1 204 No Content\r\n\r\n"]).connect).status == 204
    released.set()


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.usefixtures("short")
def test_a_callback_with_an_endless_tls_handshake_fails_as_not_sent(mute: int) -> None:
    async def connect(_: str, __: int, **secure: Any) -> Any:  # noqa: ANN401
        return await asyncio.open_connection("127.0.0.1", mute, **secure)

    failure = failed(connect=connect, tls=ssl.create_default_context())
    assert (failure.code, failure.in_doubt) == ("timeout", False)


def test_a_callback_has_time_for_the_hosts_second_ip_address_after_the_first_one_did_not_respond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(egress, "DEADLINE_SECONDS", FOREVER)
    bot = Says([b"HTTP/1.1 204 No Content\r\n\r\n"])

    async def connect(address: str, *_: object, **__: object) -> Any:  # noqa: ANN401
        return await (never() if address == PUBLIC[0] else bot.connect())

    assert post(connect=connect).status == 204


def test_a_callback_has_time_for_the_hosts_third_ip_address_after_two_did_not_respond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress, "CONNECT_SECONDS", 2)
    bot = Says([b"HTTP/1.1 204 No Content\r\n\r\n"])

    async def connect(address: str, *_: object, **__: object) -> Any:  # noqa: ANN401
        return await (bot.connect() if address == "8.8.8.8" else never())

    assert post(connect=connect, resolve=lambda *_: ["8.8.4.4", "1.1.1.1", "8.8.8.8"]).status == 204


def test_a_host_with_two_ip_addresses_has_all_of_the_time_to_accept_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress, "CONNECT_SECONDS", 2)
    bot, aborted = Says([b"HTTP/1.1 204 No Content\r\n\r\n"]), list[str]()

    async def connect(address: str, *_: object, **__: object) -> Any:  # noqa: ANN401
        try:
            await asyncio.sleep(1.3)
        except asyncio.CancelledError:
            aborted.append(address)
            raise
        return await bot.connect()

    assert post(connect=connect).status == 204
    assert aborted == PUBLIC[1:]


@pytest.mark.usefixtures("short")
def test_a_callback_to_a_host_with_many_unresponsive_ip_addresses_takes_no_longer_than_with_one() -> None:
    tried = list[str]()

    async def connect(address: str, *_: object, **__: object) -> Any:  # noqa: ANN401
        tried.append(address)
        await never()

    failure = failed(resolve=lambda *_: [f"8.8.8.{last}" for last in range(200)], connect=connect)
    assert (failure.code, failure.in_doubt) == ("timeout", False)
    assert len(tried) <= 3


def test_a_callback_receiver_that_accepts_the_connection_in_time_has_the_full_deadline_to_respond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(egress, "DEADLINE_SECONDS", FOREVER)
    bot = Says([b"HTTP/1.1 ", b"204 No Content\r\n\r\n"], pause=egress.CONNECT_SECONDS * 1.2)
    assert post(connect=bot.connect).status == 204


def test_a_callback_whose_response_arrives_byte_by_byte_ends_at_the_deadline_with_unknown_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(egress, "DEADLINE_SECONDS", 1)
    bot = Says([b"HTTP/1.1 200 OK\r\nx: ", b"y"], pause=0.01)
    failure = failed(connect=bot.connect)
    assert (failure.code, failure.in_doubt) == ("timeout", True)


def test_an_endless_series_of_1xx_responses_to_a_callback_is_cut_off_at_a_maximum_length() -> None:
    bot = Says([b"HTTP/1.1 103 Early Hints\r\n\r\n"])
    failure = failed(connect=bot.connect)
    assert (failure.code, failure.in_doubt) == ("unexpected_answer", True)
    assert bot.reads * len(bot.pieces[0]) <= 3 * MAX_HEAD_BYTES


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("bot.example.com", "bot.example.com."),
        ("bot.example.com.", "bot.example.com."),
        ("8.8.8.8", "8.8.8.8"),
        ("8.8.8.8.", "8.8.8.8"),
        ("0x7f.1", "127.0.0.1"),
        ("1.2.3", "1.2.0.3"),
        ("8.8.8.8.example", "8.8.8.8.example."),
        ("bot.1a", "bot.1a."),
        ("[2606:2800::1]", "2606:2800::1"),
    ],
)
def test_a_dns_query_for_a_callback_host_ignores_the_search_domains_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, host: str, asked: str
) -> None:
    names = list[str]()

    def getaddrinfo(name: str, *_: object, **__: object) -> Any:  # noqa: ANN401
        names.append(name)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(TransientFailure, match=r"^dns_error$"):
        Egress().post(f"https://{host}/", b"{}", {})
    assert names == [asked]


def test_tls_and_the_host_header_of_a_callback_use_the_host_name_without_a_final_dot() -> None:
    bot, told = Says([b"HTTP/1.1 204 No Content\r\n\r\n"]), list[object]()

    async def connect(*_: object, **secure: object) -> Any:  # noqa: ANN401
        told.append(secure["server_hostname"])
        return await bot.connect()

    Egress(resolve=lambda *_: PUBLIC, connect=connect).post("https://bot.example.com./", b"{}", {})
    assert told == ["bot.example.com"]
    assert b"host: bot.example.com\r\n" in bot.sent[0].lower()


@pytest.mark.parametrize("error", [OSError("refused"), ValueError("unforeseen")])
def test_any_error_at_one_ip_address_of_a_callback_host_leaves_time_for_the_next_one(error: Exception) -> None:
    tried = list[str]()

    async def connect(address: str, port: int, **_: object) -> Any:  # noqa: ANN401
        tried.append(address)
        if address == "8.8.8.8":
            raise error
        return await asyncio.open_connection("127.0.0.1", port)

    with pytest.raises(TransientFailure, match=r"^connection_error$"):
        # No server listens there, so the last address fails too, and its error is the one that counts.
        Egress(resolve=lambda *_: ["8.8.8.8", "8.8.4.4"], connect=connect).post("https://bot.example:1/", b"{}", {})
    assert tried == ["8.8.8.8", "8.8.4.4"]
