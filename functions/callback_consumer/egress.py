"""One POST to the URL that a bot has named. The POST can reach public addresses only.

All addresses of the host must be public, and the connection goes to one of these addresses, so a later change in DNS
has no effect. The client follows no redirect, reads only the answer's status and headers, and has a deadline.
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import h11
from pydantic_core import Url

from assistance.callback_url import is_loopback
from assistance.errors import PermanentFailure, TransientFailure
from assistance.platform.public_addresses import is_public
from assistance.platform.tls import context

# Together with the calls to the table, this is less than the shortest time-out that a consumer may have: infra/config.
DEADLINE_SECONDS: Final = 10
# How many of these seconds DNS, the connection and TLS may take. TCP repeats a lost SYN after one second, and again
# after two more: https://www.rfc-editor.org/rfc/rfc6298#section-2.
CONNECT_SECONDS: Final = 3
# If all addresses of a host are silent, the attempts at this many of them begin within `CONNECT_SECONDS`.
_SILENT_ADDRESSES: Final = 3
MAX_HEAD_BYTES: Final = 16_384
# A complete status line.
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([2-5][0-9]{2})( [^\n]*)?\r?\n")

_Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def resolve(host: str, port: int) -> list[str]:
    """All addresses to which the host's name resolves."""
    # Only an IP address has a colon or ends in a number: https://url.spec.whatwg.org/#ends-in-a-number-checker
    named = ":" not in host and not host.rpartition(".")[2].isdigit()
    # The final dot keeps glibc from also trying the machine's own search domains:
    # https://man7.org/linux/man-pages/man5/resolv.conf.5.html
    found = socket.getaddrinfo(f"{host}." if named else host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Answer:
    """The status and headers of a receiver's answer. `headers` has names in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Egress:
    """Posts to bots' URLs. `loopback`: True if http://127.0.0.1 is allowed too. The other fields are for tests."""

    loopback: bool = False
    resolve: Callable[[str, int], Sequence[str]] = resolve
    connect: Callable[..., Coroutine[Any, Any, _Connection]] = asyncio.open_connection
    tls: ssl.SSLContext = field(default_factory=context)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post the body, and return the answer. Raises a `DeliveryError` if there is no readable answer."""
        to = Url(url)
        # The names in certificates have no final dot: https://www.rfc-editor.org/rfc/rfc6066#section-3
        host, port = str(to.host).strip("[]").removesuffix("."), int(to.port or 0)
        local = self.loopback and is_loopback(to)
        secure: dict[str, Any] = {} if local else {"ssl": self.tls, "server_hostname": host}
        request = h11.Request(
            method="POST",
            target=f"{to.path or '/'}{'?' if to.query else ''}{to.query or ''}",
            headers=[
                ("host", f"{host}:{port}" if local else str(to.host).removesuffix(".")),
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("user-agent", "assistance"),
                ("connection", "close"),
                *headers.items(),
            ],
        )

        async def connect() -> _Connection:
            addresses = await self._addresses(host, port)
            if not addresses or not (local or all(map(is_public, addresses))):
                raise PermanentFailure("address_not_public")
            return await _first([partial(self.connect, address, port, **secure) for address in addresses])

        return asyncio.run(_exchange(connect, request, body))

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        """Resolve the host's name in a thread of its own, so that the deadline can end the wait for it.

        Python can't cancel a DNS query. RES_OPTIONS in infra/callback_consumer.py limits how long a query takes.
        """
        thread = ThreadPoolExecutor(1)
        try:
            return await asyncio.wrap_future(thread.submit(self.resolve, host, port))
        except (OSError, UnicodeError) as error:
            raise TransientFailure("dns_error") from error
        finally:
            thread.shutdown(wait=False)


async def _first(attempts: Sequence[Callable[[], Coroutine[Any, Any, _Connection]]]) -> _Connection:
    """The connection of the first attempt that succeeds. Each attempt is for another address of the host.

    A silent address does not hold up the others: the attempt at the next one begins after a pause, or at once if an
    attempt fails, as in https://www.rfc-editor.org/rfc/rfc8305#section-5.
    """
    left, running = list(attempts), set[asyncio.Task[_Connection]]()
    pause = CONNECT_SECONDS / min(len(attempts), _SILENT_ADDRESSES)
    try:
        while left or running:
            if left:
                running.add(asyncio.create_task(left.pop(0)()))
            ended, running = await asyncio.wait(
                running, timeout=pause if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            connections = [attempt.result() for attempt in ended if attempt.exception() is None]
            for _, writer in connections[1:]:
                writer.transport.abort()
            if connections:
                return connections[0]
        return ended.pop().result()  # all attempts have failed: this raises the last error
    finally:
        for attempt in running:
            attempt.cancel()


async def _exchange(connect: Callable[[], Awaitable[_Connection]], request: h11.Request, body: bytes) -> Answer:
    """Send the request, and read the status and headers. An error before the connection is made leaves no doubt."""
    sent = False
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await connect()
            try:
                http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
                parts = (request, h11.Data(body), h11.EndOfMessage())
                sent = True
                writer.write(b"".join(http.send(part) or b"" for part in parts))
                await writer.drain()
                return await _head(http, reader)
            finally:
                # `close()` would wait for the server.
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


async def _head(http: h11.Connection, reader: asyncio.StreamReader) -> Answer:
    head, read = b"", 0
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError:
            # If header lines are malformed or too many, the status alone says whether the bot has accepted the call.
            if status := _STATUS.match(head):
                return Answer(int(status[1]), {})
            raise
        match event:
            case h11.NEED_DATA:
                if read > MAX_HEAD_BYTES:
                    raise h11.RemoteProtocolError("its head has no end")
                data = await reader.read(MAX_HEAD_BYTES)
                head, read = head + data, read + len(data)
                http.receive_data(data)
            case h11.Response() as answer:
                headers = {name.decode("ascii"): value.decode("latin-1") for name, value in answer.headers}
                return Answer(answer.status_code, headers)
            case h11.InformationalResponse():
                head, _ = http.trailing_data
            case _:
                raise ConnectionResetError
