"""The trusted CA certificates, read once. botocore would read them for each connection, in 25 ms of CPU time."""

import socket
import ssl
from functools import cache
from threading import Lock
from typing import Any, cast

from botocore.httpsession import DEFAULT_CA_BUNDLE, URLLib3Session
from botocore.utils import get_environ_proxies

_reading = Lock()


def context() -> ssl.SSLContext:
    """The TLS context that all connections share. It checks certificates and host names."""
    # Without the lock, each thread of a first batch would read the certificates.
    with _reading:
        return _context()


@cache
def _context() -> ssl.SSLContext:
    made = ssl.create_default_context()
    if not made.cert_store_stats()["x509_ca"]:
        # This Python finds no CA certificates, as some installations on laptops do.
        made.load_verify_locations(DEFAULT_CA_BUNDLE)
    return made


class _Session(URLLib3Session):
    """botocore's HTTP session, but with the shared TLS context. It overrides private methods of the locked version."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        return context()

    def _setup_ssl_cert(self, conn: Any, url: str, verify: object) -> None:  # noqa: ANN401, ARG002
        conn.cert_reqs, conn.ca_certs = "CERT_REQUIRED", None


def share(client: Any) -> None:  # noqa: ANN401
    """Make the connections of a client of AWS use the shared context."""
    config, endpoint = client.meta.config, client._endpoint  # noqa: SLF001
    endpoint.http_session = _Session(
        # The type stubs allow only one number, but botocore also takes a pair: for connecting, and for reading.
        timeout=cast(int, (config.connect_timeout, config.read_timeout)),
        max_pool_connections=config.max_pool_connections,
        proxies=get_environ_proxies(endpoint.host),
        # As botocore sets them. Without `TCP_NODELAY` a call's body waits 40 ms for the server's acknowledgement.
        socket_options=cast(Any, [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]),
    )
