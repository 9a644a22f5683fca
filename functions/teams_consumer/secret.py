"""The secret with the URL of a Teams workflow."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from assistance.errors import UnusableSecret

# https://www.rfc-editor.org/rfc/rfc3986#section-2: a URL is printable ASCII, and has no spaces.
_NO_URL: Final = re.compile(r"[^!-~]")


def read(text: str, *, loopback: bool = False) -> SplitResult:
    """The URL in the secret. `loopback` also allows http://127.0.0.1. Raises `UnusableSecret`."""
    if odd := _NO_URL.search(text):
        raise UnusableSecret(f"the secret holds U+{ord(odd[0]):04X}, which no URL has: store the URL alone")
    url = _split(text)
    if url is None or not url.hostname:
        raise UnusableSecret("the secret is no URL")
    if url.scheme != ("http" if loopback and url.hostname == "127.0.0.1" else "https"):
        raise UnusableSecret("the secret is no https URL")
    return url


def _split(address: str) -> SplitResult | None:
    """The parts of the URL. None if its port or host is malformed: the exception is dropped, for it quotes the URL."""
    try:
        url = urlsplit(address)
        _ = url.port, (url.hostname or "").encode("idna")
    except ValueError:
        return None
    return url
