"""What may be called back: no address that is not everybody's, however it is written."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assistance.callback_url import LOOPBACK, MAX_CHARACTERS, is_public
from assistance.models import Call

# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-: what is not for the whole net.
SPECIAL = [
    ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.2.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:db8::/32",
        "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
]  # fmt: skip
PRIVATE = [network for network in SPECIAL if isinstance(network, IPv4Network)]


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
def test_no_address_that_is_not_everybodys_is_public(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(str(address))


@given(st.ip_addresses())
def test_what_is_public_is_in_no_special_network(address: IPv4Address | IPv6Address) -> None:
    if is_public(str(address)):
        assert not any(address in network for network in SPECIAL)


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "169.254.170.2", "fe80::1%eth0", "::1"])
def test_the_metadata_of_a_machine_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_the_rest_of_the_world_is(address: str) -> None:
    assert is_public(address)


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
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://bot.example.com/a b\r\nx-evil: 1", "https://bot.example.com/a%20bx-evil:%201"),
    ],
)
def test_a_public_url_is_kept_as_it_will_be_called(url: str, kept: str) -> None:
    assert call(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "", "bot", "//bot.example.com/", "http://bot.example.com/", "ftp://bot.example.com/", "file:///etc/passwd",
        "https://", "https://localhost/", "https://localhost./", "https://intranet/", "https://user:secret@bot.example.com/",
        "https://user@bot.example.com/", "https://bot.example.com:8443/", "https://bot.example.com:22/",
        "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/", "https://0177.0.0.1/",
        "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1]/", "https://[2002:7f00:1::]/", "https://\uff11\uff12\uff17.0.0.1/", "https:\\\\127.0.0.1\\",
        "http://127.0.0.1:8000/", f"https://bot.example.com/{'x' * MAX_CHARACTERS}",
        f"https://bot.example.com/{'é' * (MAX_CHARACTERS // 4)}",
    ],
)  # fmt: skip
def test_every_other_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        call(url)
    (error,) = refused.value.errors(include_input=False, include_context=False, include_url=False)
    assert error["loc"] == ("callback_url",)
    assert "secret" not in str(refused.value)


def test_only_a_local_run_takes_this_machine_and_nothing_else_by_http() -> None:
    assert call("http://127.0.0.1:8000/hook", loopback=True) == "http://127.0.0.1:8000/hook"
    for url in ("http://127.0.0.2/", "http://localhost:8000/", "http://10.0.0.1/", "http://bot.example.com/"):
        with pytest.raises(ValidationError):
            call(url, loopback=True)
