"""Tests the token of a take link: only a token that this system has signed is valid, until it expires."""

import base64
import uuid
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from assistance.engine.links import MAX_CHARACTERS, Link, opened, read, token
from assistance.errors import UnusableSecret
from assistance.platform import secret

NOW: Final = 1_700_000_000
KEY: Final = b"k" * 44
OTHER: Final = b"o" * 44
LINK: Final = Link("04fae1bb-0b7f-4f7c-9d1e-2f6f4a1f9a52", "email", NOW + 60)
links = st.builds(
    Link,
    st.uuids().map(str),
    st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=128),
    st.integers(NOW, 253_402_300_799),
)


def refused(text: str, *keys: bytes, now: int = NOW) -> bool:
    return opened(text, keys or (KEY,), now) is None


@given(links)
def test_a_take_token_contains_the_signed_link_data_and_only_characters_allowed_in_urls(link: Link) -> None:
    text = token(link, [KEY])
    assert opened(text, [KEY], NOW) == link
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(text) <= MAX_CHARACTERS


@given(links, st.data())
def test_a_take_token_with_any_character_changed_is_refused(link: Link, data: st.DataObject) -> None:
    text = token(link, [KEY])
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8"))
    assume(other != text[at])
    assert refused(text[:at] + other + text[at + 1 :])


@given(links, links)
def test_a_take_token_with_the_signature_of_another_token_is_refused(link: Link, other: Link) -> None:
    assume(link != other)
    head, tail = (base64.urlsafe_b64decode(token(each, [KEY]) + "==") for each in (link, other))
    mixed = base64.urlsafe_b64encode(head[:-32] + tail[-32:]).rstrip(b"=").decode()
    assert refused(mixed)


@given(links, st.integers(1, 60))
def test_a_shortened_or_lengthened_take_token_is_refused(link: Link, characters: int) -> None:
    text = token(link, [KEY])
    assert refused(text[:-characters])
    assert refused(text[characters:])
    assert refused(text + "A" * characters)
    assert refused(text + "=")


@given(st.text(max_size=2_000))
def test_any_text_without_a_valid_signature_is_refused_as_a_take_token(text: str) -> None:
    assert refused(text)


@given(st.binary(max_size=200))
def test_any_bytes_without_a_valid_signature_are_refused_as_a_take_token(content: bytes) -> None:
    assert refused(base64.urlsafe_b64encode(content).rstrip(b"=").decode())


def test_a_take_token_is_valid_until_its_expiry_time() -> None:
    text = token(LINK, [KEY])
    assert opened(text, [KEY], LINK.expires) == LINK
    assert refused(text, now=LINK.expires + 1)


def test_a_take_token_is_valid_only_if_signed_with_a_current_or_old_key_in_the_secret() -> None:
    text = token(LINK, [OTHER])
    assert refused(text, KEY)
    assert opened(text, [KEY, OTHER], NOW) == LINK
    assert token(LINK, [KEY, OTHER]) == token(LINK, [KEY]), "the first key signs"


def test_the_signing_secret_contains_keys_separated_by_white_space() -> None:
    new, old = "n" * 44, "o" * 44
    assert read(f" {new}\n{old}\n") == [new.encode(), old.encode()]


@pytest.mark.parametrize("text", ["", " \n", "short", f"{'n' * 44} short", "é" * 44])
def test_a_signing_secret_without_keys_is_unusable_and_the_error_does_not_quote_the_secret(text: str) -> None:
    with pytest.raises(UnusableSecret) as refusal:
        read(secret.text(text))
    assert text.strip() not in str(refusal.value) or not text.strip()


def test_the_take_tokens_of_two_requests_are_different() -> None:
    other = Link(str(uuid.UUID(int=1)), LINK.delivery, LINK.expires)
    assert token(LINK, [KEY]) != token(other, [KEY])
