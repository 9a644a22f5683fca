"""The link by which a human takes a request. A consumer puts it into the message that it sends.

It ends in a token: the request's id, the link's expiry, the delivery's name and a signature, in URL-safe Base64:

    request's id (16 bytes) │ expiry (8 bytes) │ delivery's name │ HMAC-SHA256 (32 bytes)

Everybody who has the link may use it, any number of times: only the first take of a request counts.
"""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from assistance.errors import UnusableSecret
from assistance.models import Outgoing
from assistance.platform.secret import secret

UNAVAILABLE: Final = "take_secret_unavailable"
MAX_CHARACTERS: Final = 800  # more than any token has, since a delivery's name has 128 characters at most
_ID: Final = 16
_HEAD: Final = _ID + 8
_MAC: Final = hashlib.sha256().digest_size
# This prefix is signed too, so that a signature that the same key has made for another purpose is not valid here.
_PURPOSE: Final = b"assistance take link 1\n"
_KEY: Final = re.compile(r"[!-~]{32,}")


@dataclass(frozen=True, slots=True)
class Link:
    """The content of a token. `delivery` is the name of the delivery whose message contains the link.

    `expires` is in seconds since 1970.
    """

    request_id: str
    delivery: str
    expires: int


def read(text: str) -> list[bytes]:
    """The keys in the secret: one, or during a change of keys the new one and the old one. Raises `UnusableSecret`."""
    keys = text.split()
    if not all(map(_KEY.fullmatch, keys)):
        raise UnusableSecret("the secret holds something else than keys of 32 characters or more, separated by spaces")
    return [key.encode() for key in keys]


def take_url(outgoing: Outgoing, page: str, secret_arn: str) -> str | None:
    """The URL on which a human takes the request: `page` and a token. None if `page` is empty: the stage has no page.

    Raises a `TransientFailure` if the secret can't be used.
    """
    if not page:
        return None
    keys = secret(secret_arn, read, unavailable=UNAVAILABLE)
    return page + token(Link(outgoing.request.id, outgoing.delivery.name, outgoing.ttl), keys)


def token(link: Link, keys: Sequence[bytes]) -> str:
    """The link's token, signed with the first key."""
    signed = uuid.UUID(link.request_id).bytes + link.expires.to_bytes(8) + link.delivery.encode()
    return _encoded(signed + _signature(signed, keys[0]))


def opened(token: str, keys: Sequence[bytes], now: int) -> Link | None:
    """The content of a token. None if it expired before `now` (seconds since 1970), or if no key signed it."""
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    signed, signature = content[:-_MAC], content[-_MAC:]
    # Several Base64 texts decode to the same bytes. Accept only the one that `token` makes.
    if len(token) > MAX_CHARACTERS or len(signed) <= _HEAD or _encoded(content) != token:
        return None
    is_signed = any(hmac.compare_digest(_signature(signed, key), signature) for key in keys)
    expires = int.from_bytes(signed[_ID:_HEAD])
    if not is_signed or expires < now:
        return None
    return Link(str(uuid.UUID(bytes=signed[:_ID])), signed[_HEAD:].decode(), expires)


def _signature(signed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + signed, "sha256")


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
