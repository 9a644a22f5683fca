"""Says which IP addresses are public, and which host names may be. The lists in `ipaddress` vary by Python version."""

import re
from ipaddress import IPv4Address, IPv6Network, ip_address, ip_network
from typing import Final

# This block has no IPv4-mapped, NAT64, local or multicast addresses: https://www.iana.org/assignments/ipv6-address-space
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
# Every block of https://www.iana.org/assignments/iana-ipv4-special-registry and, within global unicast, of
# https://www.iana.org/assignments/iana-ipv6-special-registry. The registries call some of these blocks globally
# reachable. They hold anycast addresses for protocols and for unwanted DNS queries, and no bot has such an address.
_SPECIAL: Final = tuple(map(ip_network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4",  # https://www.iana.org/assignments/multicast-addresses
    "240.0.0.0/4",
    "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)))  # fmt: skip

MAX_NAME: Final = 253
"""The length of the longest host name. In DNS it takes 255 octets, since each label has a length octet before it:
https://www.rfc-editor.org/rfc/rfc1035#section-3.1."""
# RFC 1123 allows no underscore, but host names with underscores exist, and glibc's resolver accepts them. The resolver
# rejects a name that begins with a hyphen:
# https://sourceware.org/git/?p=glibc.git;a=blob;f=resolv/res-name-checking.c
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
# A top-level domain has only letters, or is encoded by IDNA: https://www.rfc-editor.org/rfc/rfc1123#page-13.
_TOP_LEVEL: Final = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")
# The public DNS has no names under these domains: https://www.iana.org/assignments/special-use-domain-names and, for
# "internal", https://www.icann.org/en/public-comment/proceeding/proposed-top-level-domain-string-for-private-use-24-01-2024
_NOWHERE: Final = frozenset({"alt", "example", "internal", "invalid", "local", "localhost", "onion", "test"})
_AT_HOME: Final = ("home", "arpa")


def is_public(address: str) -> bool:
    """Whether this IP address is public. Raises `ValueError` if the text is not an IP address."""
    ip = ip_address(address)
    if not (isinstance(ip, IPv4Address) or ip in _GLOBAL_UNICAST):
        return False
    return not any(ip in network for network in _SPECIAL)


def can_resolve(name: str) -> bool:
    """Whether a public DNS server may have an address for this host name. The name is in lower case and in Punycode."""
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(labels) < 2 or len(name) > MAX_NAME or name.startswith("-"):  # noqa: PLR2004
        return False
    if labels[-1] in _NOWHERE or tuple(labels[-2:]) == _AT_HOME or not _TOP_LEVEL.fullmatch(labels[-1]):
        return False
    return all(map(_LABEL.fullmatch, labels))
