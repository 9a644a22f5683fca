"""Tests which email addresses, phone numbers and URLs of a customer become links: only valid ones."""

import html
import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistance.contact import link, mailto, tel
from tests.fuzz_settings import FUZZED

TYPED = st.text(st.sampled_from("a0@.+-()/ \\:#?%[]<>|\"'&é\u017f\u212a\u00a0\u202e\r\n\x00"), max_size=30)
PRINTABLE = re.compile(r"[!-~]+")


@pytest.mark.parametrize(
    "address",
    [
        "anna@example.org",
        "a.b+c_d@mail.example.co.uk",
        "o'brien@example.ie",
        f"{'x' * 64}@example.org",
        "a@xn--bcher-kva.de",
    ],
)
def test_a_valid_email_address_becomes_a_mailto_link(address: str) -> None:
    assert mailto(address) == address


@pytest.mark.parametrize(
    "typed",
    [
        "", "anna", "anna@", "@example.org", "anna@example", "a..b@example.org", ".a@example.org", "a.@example.org",
        "a@b..org", "a@-b.org", "a@b-.org", "a@192.0.2.1", "a b@example.org", "a@example.org.", "Anna <a@example.org>",
        "a@example.org, b@example.org", "a@example.org\r\nBcc: thief@example.org", "a@example.org\n", "a@bücher.de",
        "ü@example.org", '"a b"@example.org', f"{'x' * 65}@example.org", f"a@{'b.' * 125}example.org",
        "a@b@example.org",
    ],
)  # fmt: skip
def test_an_invalid_email_address_is_not_linked(typed: str) -> None:
    assert mailto(typed) is None


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("+49 30 1234567", "+49301234567"),
        ("+49 (0) 30 1234567", "+49301234567"),
        ("0049 (0) 30 1234567", "0049301234567"),
        ("(0)30 1234567", "0301234567"),
        ("(030) 123-45 67", "0301234567"),
        ("0171/1234567", "01711234567"),
        ("1.800.555.0199", "18005550199"),
        ("+44\u00a020\u00a07946\u00a00958", "+442079460958"),
        ("112", "112"),
    ],
)
def test_a_phone_link_omits_the_separators_in_the_typed_number(typed: str, number: str) -> None:
    assert tel(typed) == number


@pytest.mark.parametrize(
    "typed",
    ["", "call me", "12", "+", "+49 30 1234567 ext. 5", "1" * 16, "++49301234", "٠١٢٣٤٥", "030 12345\n", "*31#0301"],
)
def test_an_invalid_phone_number_is_not_linked(typed: str) -> None:
    assert tel(typed) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com/conversations/42?tab=a&b=c#last",
        "HTTPS://example.com",
        "https://example.com:8443/a%20b",
        "https://[2001:db8::1]/x",
    ],
)
def test_a_valid_conversation_url_is_linked_unchanged(url: str) -> None:
    assert link(url) == url


@pytest.mark.parametrize(
    "typed",
    [
        "", "example.com/x", "//example.com/x", "http://example.com", "javascript:alert(1)", "https:example.com",
        "https://", "https:///x", "https://user@example.com", "https://user:secret@example.com", "https://@example.com",
        "https://example.com:port/", "https://example.com:99999/", "https://[x/y", "https://good.example\\@evil.example",
        "https://example.com/a b", "https://example.com/\n", "https://bücher.de/", 'https://example.com/"onclick=',
        "https://example.com/<script>", "https://example.com/|evil", " https://example.com/",
        "https://%/", "https://%41.example/", "https://-/", "https://a..b/", "https://.example.com/", "https://a_b.example/",
        "https://example.com/%", "https://example.com/%zz", "https://example.com/[x]", "https://[x]/",
        "https://example.com/\u017f", "https://\u212aitchen.example/", "https://\u0131.example/", "https://\u0130.example/",
    ],
)  # fmt: skip
def test_a_url_that_is_not_valid_https_is_not_linked(typed: str) -> None:
    assert link(typed) is None


@FUZZED
@given(TYPED)
def test_any_generated_link_contains_only_harmless_ascii_characters(typed: str) -> None:
    for used in (mailto(typed), tel(typed), link(f"https://{typed}")):
        assert used is None or PRINTABLE.fullmatch(used)
    if (number := tel(typed)) is not None:
        assert re.fullmatch(r"\+?\d{3,15}", number)
    if (url := link(f"https://{typed}")) is not None:
        assert urlsplit(url).username is None
        assert not set(url) & set('<>"|\\')
        assert html.escape(url, quote=False).replace("&amp;", "&") == url
