"""The secret with the URL of a Teams workflow."""

import re
from contextlib import suppress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from assistance.errors import UnusableSecret

# https://www.rfc-editor.org/rfc/rfc3986#section-2: a URL is printable ASCII, and has no spaces.
_NO_URL: Final = re.compile(r"[^!-~]")


def read(text: str, *, loopback: bool = False) -> SplitResult:
    """The URL in the secret. `loopback` also allows http://127.0.0.1. Raises `UnusableSecret`."""
    if odd := _NO_URL.search(text):
        raise UnusableSecret(f"the secret holds U+{ord(odd[0]):04X}, which no URL has: store the URL alone")
    host, url = b"", None
    with suppress(ValueError):  # these errors quote the URL
        url = urlsplit(text)
        _, host = url.port, (url.hostname or "").encode("idna")
    if url is None or not host:
        raise UnusableSecret("the secret is no URL")
    if url.scheme != ("http" if loopback and url.hostname == "127.0.0.1" else "https"):
        raise UnusableSecret("the secret is no https URL")
    return url
