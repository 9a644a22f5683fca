"""One POST to where a caller has asked for it, so that it reaches nothing that the caller could not reach.

All addresses of the host must be public, and the connection goes to one that was looked at: what DNS says a moment
later changes nothing. TLS holds the server to the host's name all the same. No redirect is followed, and of an answer
nothing is read but its head, all within a deadline.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import h11
from pydantic_core import Url

from assistance.callback_url import is_loopback, is_public
from assistance.errors import PermanentFailure, TransientFailure

# With what the table takes, less than the shortest time-out that a consumer may have: infra/config.py.
DEADLINE_SECONDS: Final = 10
MAX_HEAD_BYTES: Final = 16_384
# Of a head that has ended.
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([2-5][0-9]{2})[ \r].*?\n\r?\n", re.DOTALL)

Connect: TypeAlias = Callable[..., Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def resolve(host: str, port: int) -> list[str]:
    """All addresses of the host. How long that may take is set by RES_OPTIONS: infra/callback_consumer.py."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Egress:
    """The way out. `loopback`: http to this machine will do as well."""

    loopback: bool = False
    resolve: Callable[[str, int], Sequence[str]] = resolve
    connect: Connect = asyncio.open_connection
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post it, and return what was answered. Raises a `DeliveryError` where there was no answer."""
        to = Url(url)
        host, port = str(to.host).strip("[]"), int(to.port or 0)
        local = self.loopback and is_loopback(to)
        try:
            addresses = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise TransientFailure("dns_error") from error
        if not addresses or not (local or all(map(is_public, addresses))):
            raise PermanentFailure("address_not_public")
        secure: dict[str, Any] = {} if local else {"ssl": self.tls, "server_hostname": host}
        request = h11.Request(
            method="POST",
            target=f"{to.path or '/'}{'?' if to.query else ''}{to.query or ''}",
            headers=[
                ("host", f"{to.host}:{port}" if local else str(to.host)),
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("user-agent", "assistance"),
                ("connection", "close"),
                *headers.items(),
            ],
        )
        return asyncio.run(self._exchange([(address, port) for address in addresses], secure, request, body))

    async def _exchange(
        self, addresses: Sequence[tuple[str, int]], secure: Mapping[str, Any], request: h11.Request, body: bytes
    ) -> Answer:
        sent = False
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                reader, writer = await self._connected(addresses, secure)
                try:
                    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
                    parts = (request, h11.Data(body), h11.EndOfMessage())
                    sent = True
                    writer.write(b"".join(http.send(part) or b"" for part in parts))
                    await writer.drain()
                    return await _head(http, reader)
                finally:
                    # Not closed politely: that would wait for the other side.
                    writer.transport.abort()
                    await asyncio.sleep(0)
        except TimeoutError as error:
            raise TransientFailure("timeout", in_doubt=sent) from error
        except ssl.SSLError as error:
            raise TransientFailure("tls_error", in_doubt=sent) from error
        except OSError as error:
            raise TransientFailure("connection_error", in_doubt=sent) from error
        except h11.RemoteProtocolError as error:
            raise TransientFailure("unexpected_answer", in_doubt=sent) from error

    async def _connected(
        self, addresses: Sequence[tuple[str, int]], secure: Mapping[str, Any]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address that lets us. Nothing has been sent before."""
        for number, address in enumerate(addresses, 1):
            try:
                return await self.connect(*address, **secure)
            except OSError:
                if number == len(addresses):
                    raise
        raise AssertionError


async def _head(http: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    head = b""
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError:
            # One line that is no header makes no other answer of it: the bot has taken the call, or it has not.
            if status := _STATUS.match(head):
                return Answer(int(status[1]), {})
            raise
        match event:
            case h11.NEED_DATA:
                received = await reader.read(MAX_HEAD_BYTES)
                head += received
                http.receive_data(received)
            case h11.Response() as answer:
                headers = {name.decode("ascii"): value.decode("latin-1") for name, value in answer.headers}
                return Answer(answer.status_code, headers)
            case h11.InformationalResponse():
                head, _ = http.trailing_data
            case _:
                raise ConnectionResetError
