"""The access rule of every local server: local programs may call it, but other web pages may not.

A page in the developer's browser can reach any port of this machine. The browser reports the page's origin in `Origin`
and in `Sec-Fetch-Site`. If an attacker lets a domain resolve to this machine (DNS rebinding), `Host` contains that
domain.
https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
https://fetch.spec.whatwg.org/#origin-header
"""

from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final

HOST: Final = "127.0.0.1"
"""The address on which all servers listen, so that no other machine can connect."""
NAMES: Final = (HOST, "localhost")
SITES: Final = frozenset({"none", "same-origin"})
REFUSAL: Final = "This server accepts calls from programs on this machine and from its own web page only."


def admits(port: int, hosts: Sequence[str], origins: Sequence[str], sites: Sequence[str]) -> bool:
    """Whether a server on this port may answer a request with these `Host`, `Origin` and `Sec-Fetch-Site` headers.

    A request that repeats such a header is refused, because two parsers could use different values.
    """
    if len(hosts) != 1 or len(origins) > 1 or len(sites) > 1:
        return False
    host = hosts[0].lower()
    return (
        host in {f"{name}:{port}" for name in NAMES}
        and {f"http://{host}"}.issuperset(origins)
        and SITES.issuperset(sites)
    )


class OriginCheckingHandler(BaseHTTPRequestHandler):
    """An `http.server` handler that refuses requests, of any method, that `admits` does not permit."""

    def parse_request(self) -> bool:
        """Parse the request line and headers. Returns whether to serve the request."""
        if not super().parse_request():
            return False
        _, port = self.connection.getsockname()
        hosts, origins, sites = (self.headers.get_all(name, []) for name in ("Host", "Origin", "Sec-Fetch-Site"))
        if self.admits(port, hosts, origins, sites):
            return True
        # `send_error` also closes the connection, so that the unread body is not parsed as another request.
        self.send_error(HTTPStatus.FORBIDDEN, explain=REFUSAL.removesuffix("."))  # http.server adds one
        return False

    def admits(self, port: int, hosts: Sequence[str], origins: Sequence[str], sites: Sequence[str]) -> bool:
        """Whether to answer a request with these headers, as the function `admits` says. A subclass may override it."""
        return admits(port, hosts, origins, sites)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing, because the terminal is for the messages of the command."""
