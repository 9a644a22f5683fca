"""The secret with the callbacks' signing keys: one, or several during a change of keys."""

import base64
from typing import Final

from assistance.errors import UnusableSecret

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
KEY_BYTES: Final = range(24, 65)


def read(text: str) -> list[bytes]:
    """The signing keys in the secret's text. Raises `UnusableSecret`."""
    keys = [_decoded(part.removeprefix("whsec_")) for part in text.split()]
    if not all(len(key) in KEY_BYTES for key in keys):
        raise UnusableSecret("the secret holds something else than keys of 24 to 64 bytes in Base64")
    return keys


def _decoded(key: str) -> bytes:
    """The decoded bytes; empty if the text is not Base64."""
    try:
        return base64.b64decode(key, validate=True)
    except ValueError:
        return b""
