"""The certificates that are trusted: read once, for all clients and all threads.

botocore reads its file for each new connection, which takes 25 ms of a CPU, and a batch opens one for each record.
"""

import ssl
from functools import cache
from threading import Lock
from typing import Any, cast

from botocore.httpsession import DEFAULT_CA_BUNDLE, URLLib3Session
from botocore.utils import get_environ_proxies

_reading = Lock()


def context() -> ssl.SSLContext:
    """The context of every connection. It checks certificates and host names."""
    with _reading:
        return _context()


@cache
def _context() -> ssl.SSLContext:
    made = ssl.create_default_context()
    if not made.cert_store_stats()["x509_ca"]:
        # A Python that brings no certificates, as some do on a laptop.
        made.load_verify_locations(DEFAULT_CA_BUNDLE)
    return made


class _Session(URLLib3Session):
    """botocore's connections, on the shared context. These two methods are botocore's own: its version is locked."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        return context()

    def _setup_ssl_cert(self, conn: Any, url: str, verify: object) -> None:  # noqa: ANN401, ARG002
        conn.cert_reqs, conn.ca_certs = "CERT_REQUIRED", None


class _OnTheContext:
    """A base class of every client: gives the client's connections the shared context."""

    def __init__(self, **parts: Any) -> None:  # noqa: ANN401
        super().__init__(**parts)
        config, endpoint = parts["client_config"], parts["endpoint"]
        endpoint.http_session = _Session(
            # The stubs forget that it may be two: connecting, and reading.
            timeout=cast(int, (config.connect_timeout, config.read_timeout)),
            max_pool_connections=config.max_pool_connections,
            proxies=get_environ_proxies(endpoint.host),
        )


def share(**event: Any) -> None:  # noqa: ANN401
    """Have a client's connections use the context. For botocore's event `creating-client-class`.

    https://docs.aws.amazon.com/boto3/latest/guide/events.html
    """
    event["base_classes"].insert(0, _OnTheContext)
