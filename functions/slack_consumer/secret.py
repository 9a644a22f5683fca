"""The secret with Slack's token."""

import re
from typing import Final

from assistance.errors import UnusableSecret

# Slack documents only a token's prefix. These are the characters of a bearer token:
# https://www.rfc-editor.org/rfc/rfc6750#section-2.1
_NO_TOKEN: Final = re.compile(r"[^A-Za-z0-9._~+/=-]")


def read(text: str) -> str:
    """The token in the secret. Raises `UnusableSecret` if the text can't be a token."""
    token = text.strip()
    if not token:
        raise UnusableSecret("the secret is empty")
    if odd := _NO_TOKEN.search(token):
        raise UnusableSecret(f"the secret holds U+{ord(odd[0]):04X}, which no token has: store the token alone")
    return token
