"""Checks callback URLs: they must use https and name a public host. The consumer also checks the host's addresses."""

from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints, ValidationInfo
from pydantic_core import Url, ValidationError

from assistance.platform.public_addresses import can_resolve, is_public

MAX_CHARACTERS: Final = 2_048
LOOPBACK: Final = "callback_loopback"
"""A key in pydantic's validation context. If it is true, http://127.0.0.1 is allowed too. Only `make run` sets it."""


def is_loopback(url: Url) -> bool:
    """Whether the URL begins with http://127.0.0.1, which is allowed only in local runs."""
    return (url.scheme, url.host) == ("http", "127.0.0.1")


def _checked(value: str, info: ValidationInfo) -> str:
    try:
        url = Url(value)
    except ValidationError:
        raise ValueError("Input should be a valid URL") from None
    if len(str(url)) > MAX_CHARACTERS:
        raise ValueError(f"URL should have at most {MAX_CHARACTERS} characters once it is encoded")
    if url.username or url.password:
        raise ValueError("URL should hold no user name and no password")
    if not (is_loopback(url) and (info.context or {}).get(LOOPBACK)):
        _check_public(url)
    return str(url)


def _check_public(url: Url) -> None:
    if url.scheme != "https" or url.port != 443:  # noqa: PLR2004
        raise ValueError("URL should begin with https:// and name no port but 443")
    host = (url.host or "").strip("[]")
    try:
        public = is_public(host)
    except ValueError:
        if not can_resolve(host):
            raise ValueError("URL should name a host that can be found in the public DNS") from None
    else:
        if not public:
            raise ValueError("URL should name a host that is public")


CallbackUrl = Annotated[str, StringConstraints(max_length=MAX_CHARACTERS), AfterValidator(_checked)]
