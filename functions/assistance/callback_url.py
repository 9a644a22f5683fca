"""Where a bot may have itself called back: nowhere but at a public address, by https.

The API refuses what can be told from the URL alone; what its host's name stands for is looked at before each call.
pydantic reads a URL as browsers do, so `https://0x7f.1` is the address that it looks like to nobody else.
"""

from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints, ValidationInfo
from pydantic_core import Url, ValidationError

MAX_CHARACTERS: Final = 2_048
LOOPBACK: Final = "callback_loopback"
"""Of a validation's context: that http://127.0.0.1 will do as well. Only `make run` says so."""

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")


def is_public(address: str) -> bool:
    """Whether this IP address is one that anybody may call.

    Of IPv6 only global unicast, which leaves out every form that holds an IPv4 address but 6to4: mapped ones, NAT64's.
    https://www.iana.org/assignments/ipv6-address-space
    """
    ip = ip_address(address)
    if not ip.is_global or ip.is_multicast:
        return False
    return isinstance(ip, IPv4Address) or (ip in _GLOBAL_UNICAST and ip not in _SIX_TO_FOUR)


def is_loopback(url: Url) -> bool:
    """Whether it is one of those that are for local runs alone."""
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
        public = "." in host.strip(".")
    if not public:
        raise ValueError("URL should name a host that is public")


CallbackUrl = Annotated[str, StringConstraints(max_length=MAX_CHARACTERS), AfterValidator(_checked)]
