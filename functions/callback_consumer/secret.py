"""The secret with the callbacks' signing keys: one, or several during a change of keys."""

import base64
from contextlib import suppress
from typing import Final

from assistance.errors import UnusableSecret

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
KEY_BYTES: Final = range(24, 65)


def read(text: str) -> list[bytes]:
    """The signing keys in the secret's text. Raises `UnusableSecret`."""
    keys: list[bytes] = []
    with suppress(ValueError):
        keys = [base64.b64decode(part.removeprefix("whsec_"), validate=True) for part in text.split()]
    if not keys or not all(len(key) in KEY_BYTES for key in keys):
        raise UnusableSecret("the secret holds something else than keys of 24 to 64 bytes in Base64")
    return keys
