"""Tests which callback URLs are accepted: public IP addresses in any notation, and host names that can resolve."""

import json
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.body import Call
from assistance.callback_url import LOOPBACK, MAX_CHARACTERS
from assistance.platform import public_addresses
from assistance.platform.public_addresses import can_resolve, is_public
from infra.bundle import compiler

# Every row of https://www.iana.org/assignments/iana-ipv4-special-registry and of
# https://www.iana.org/assignments/iana-ipv6-special-registry, as of November 2026.
REGISTERED = [
    ip_network(network)
    for network in (
        "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32",
        "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32",
        "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
        "255.255.255.255/32",
        "::1/128", "::/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
        "2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32",
        "2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16",
        "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
    )
]  # fmt: skip
# Multicast, addresses that contain an IPv4 address, and formerly local ones. IANA's two registries lack these.
SPECIAL = [*REGISTERED, *map(ip_network, ("224.0.0.0/4", "::/96", "fec0::/10", "ff00::/8"))]
PRIVATE = [network for network in SPECIAL if isinstance(network, IPv4Network)]
NEIGHBOURS = [
    "1.0.0.0", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "172.15.255.255",
    "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "2001:200::", "2001:db7:ffff::", "2001:db9::", "2003::", "2620:4f:7fff::", "2620:4f:8001::",
    "3ffe:ffff::", "3fff:1000::",
]  # fmt: skip


def within(network: IPv4Network | IPv6Network) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    return st.integers(0, network.num_addresses - 1).map(network.__getitem__)


SOMEWHERE_SPECIAL = st.sampled_from(SPECIAL).flatmap(within)
PRIVATE_V4 = st.sampled_from(PRIVATE).flatmap(within).map(int)
# IPv4 within IPv6: mapped, compatible, 6to4, NAT64's and Teredo's (whose last bits are inverted).
DISGUISED = st.one_of(
    PRIVATE_V4.map(lambda v4: IPv6Address((0xFFFF << 32) | v4)),
    PRIVATE_V4.map(IPv6Address),
    PRIVATE_V4.map(lambda v4: IPv6Address((0x2002 << 112) | (v4 << 80))),
    PRIVATE_V4.map(lambda v4: IPv6Address((0x64FF9B << 96) | v4)),
    PRIVATE_V4.map(lambda v4: IPv6Address((0x20010000 << 96) | (v4 ^ 0xFFFFFFFF))),
)


@given(SOMEWHERE_SPECIAL | DISGUISED)
def test_no_ip_address_of_a_special_purpose_network_is_public_in_any_notation(
    address: IPv4Address | IPv6Address,
) -> None:
    assert not is_public(str(address))


@given(st.ip_addresses())
def test_no_public_ip_address_is_in_a_special_purpose_network(address: IPv4Address | IPv6Address) -> None:
    if is_public(str(address)):
        assert not any(address in network for network in SPECIAL)


@given(st.ip_addresses())
def test_python_regards_every_public_ip_address_as_global_too(address: IPv4Address | IPv6Address) -> None:
    assert address.is_global or not is_public(str(address))


@pytest.mark.parametrize("network", SPECIAL, ids=str)
def test_neither_the_first_nor_the_last_ip_address_of_a_special_purpose_network_is_public(
    network: IPv4Network | IPv6Network,
) -> None:
    assert not is_public(str(network[0]))
    assert not is_public(str(network[-1]))


@pytest.mark.parametrize("address", NEIGHBOURS)
def test_the_ip_addresses_just_outside_special_purpose_networks_are_public(address: str) -> None:
    assert is_public(address)


def edges() -> Mapping[str, bool]:
    """Whether each address is public: the first and last of each special-purpose network, and those just outside."""
    addresses = [str(address) for network in SPECIAL for address in (network[0], network[-1])]
    return {address: is_public(address) for address in [*addresses, *NEIGHBOURS]}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_whether_an_ip_address_is_public_does_not_depend_on_the_python_version(version: str) -> None:
    python = compiler(version)
    if python is None:
        pytest.skip(f"no Python {version} is installed")
    script = (
        "import ipaddress, json, runpy, sys\n"
        "is_public = runpy.run_path(sys.argv[1])['is_public']\n"
        "found = {each: (is_public(each), ipaddress.ip_address(each).is_global) for each in json.load(sys.stdin)}\n"
        "json.dump(found, sys.stdout)"
    )
    judged = subprocess.run(
        [python, "-I", "-c", script, str(Path(public_addresses.__file__))],
        input=json.dumps(list(edges())), check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(judged.stdout)
    assert {address: ours for address, (ours, _) in found.items()} == edges()
    assert [address for address, (ours, python_s) in found.items() if ours and not python_s] == []


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "169.254.170.2", "fe80::1%eth0", "::1"])
def test_ip_addresses_of_cloud_metadata_services_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_ordinary_ip_addresses_are_public(address: str) -> None:
    assert is_public(address)


# Names that no resolver finds: https://www.rfc-editor.org/rfc/rfc1035#section-3.1, https://www.rfc-editor.org/rfc/rfc1123#page-13
# and https://www.iana.org/assignments/special-use-domain-names.
LONGEST = ".".join(["a" * 63] * 3 + ["a" * 57, "com"])
NOWHERE = [
    ".ex.com", "..", ".", "-", "_", "a..com", "ex.com..", "com", "com.", "_._", "a.com_", "a.co_m", "a.com-", "a.-com",
    "-a.com", "a.123", "a.0x1f", "a.1a", "a.c", "a.xn--",
    "a*b.com", "a!b.com", "a'b.com", "a(b).com", "a,b.com", "a;b.com", "a=b.com", "a~b.com", "a{b}.com", 'a"b.com',
    "a`b.com", "a$b.com", "a&b.com", "a+b.com", f"{'a' * 64}.com", f"{'é' * 60}.com", f"a{LONGEST}", f"a{LONGEST}.",
    "bot.test", "bot.example", "bot.invalid", "bot.localhost", "bot.local", "bot.internal", "bot.onion", "bot.alt",
    "bot.home.arpa", "home.arpa",
]  # fmt: skip


@pytest.mark.parametrize("name", NOWHERE)
def test_a_host_name_that_is_not_valid_in_public_dns_is_refused_without_a_lookup(name: str) -> None:
    assert not can_resolve(name)


@pytest.mark.parametrize(
    "name",
    [
        LONGEST, f"{LONGEST}.", f"{'a' * 63}.com", "a.co", "_.example.com", "a_b.example.com", "a-.example.com",
        "1.example.com", "xn--bcher-kva.xn--p1ai", "test.com", "a.-b.com", "alt.example.com", "home.arpa.com",
    ],
)  # fmt: skip
def test_a_host_name_that_a_dns_resolver_may_find_is_accepted(name: str) -> None:
    assert can_resolve(name)


@given(st.text(alphabet="ab-_.1é", max_size=300))
def test_python_can_encode_every_accepted_host_name(name: str) -> None:
    if can_resolve(f"{name}.com"):
        assert f"{name}.com".encode("idna") == f"{name}.com".encode("ascii")


def call(url: str, *, loopback: bool = False) -> str | None:
    body = {"topic": "sales", "description": "help", "callback_url": url}
    return Call.model_validate(body, context={LOOPBACK: loopback}).callback_url


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://bot.example.com/hook?a=b", "https://bot.example.com/hook?a=b"),
        ("https://bot.example.com:443", "https://bot.example.com/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:2800::1]/", "https://[2606:2800::1]/"),
        ("https://bücher.example.com/", "https://xn--bcher-kva.example.com/"),
        ("https://пример.рф/", "https://xn--e1afmkfd.xn--p1ai/"),
        ("https://bot.example.com./", "https://bot.example.com./"),
        ("https://a_bot.example.com/", "https://a_bot.example.com/"),
        ("https://8-bots-.example.com/", "https://8-bots-.example.com/"),
        ("https://bot.example.com/a b\r\nx-evil: 1", "https://bot.example.com/a%20bx-evil:%201"),
    ],
)
def test_a_public_callback_url_is_normalized_to_the_url_that_is_called(url: str, kept: str) -> None:
    assert call(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "bot", "//bot.example.com/", "http://bot.example.com/", "ftp://bot.example.com/", "file:///etc/passwd",
        "https://", "https://localhost/", "https://localhost./", "https://intranet/", "https://user:secret@bot.example.com/",
        "https://user@bot.example.com/", "https://bot.example.com:8443/", "https://bot.example.com:22/",
        "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/", "https://0177.0.0.1/",
        "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1]/", "https://[2002:7f00:1::]/", "https://\uff11\uff12\uff17.0.0.1/", "https:\\\\127.0.0.1\\",
        "http://127.0.0.1:8000/", f"https://bot.example.com/{'x' * MAX_CHARACTERS}",
        f"https://bot.example.com/{'é' * (MAX_CHARACTERS // 4)}",
        "https://3fff:0fff::1/", "https://[3fff:0fff::1]/", "https://192.88.99.1/",
        "https://xn--a.com/", *(f"https://{name}/" for name in NOWHERE),
    ],
)  # fmt: skip
def test_a_callback_url_that_is_no_public_https_url_is_refused_and_the_error_does_not_quote_it(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        call(url)
    (error,) = refused.value.errors(include_input=False, include_context=False, include_url=False)
    assert error["loc"] == ("callback_url",)
    assert "secret" not in str(refused.value)


def test_only_the_local_stack_accepts_http_callback_urls_and_only_to_the_same_machine() -> None:
    assert call("http://127.0.0.1:8000/hook", loopback=True) == "http://127.0.0.1:8000/hook"
    for url in ("http://127.0.0.2/", "http://localhost:8000/", "http://10.0.0.1/", "http://bot.example.com/"):
        with pytest.raises(ValidationError):
            call(url, loopback=True)
