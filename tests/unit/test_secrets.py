"""Tests that any stored secret is accepted, or its defect is described without its value."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assistance.engine import links
from assistance.errors import UnusableSecret
from assistance.platform.secret import text
from callback_consumer import secret as callback
from slack_consumer.web_api import read_token
from teams_consumer import secret as teams
from tests.fuzz_settings import FUZZED
from tests.logs import shown

Read = Callable[[str], object]
CANARY = "C4N4RY"
READERS: dict[str, Read] = {
    "slack": lambda value: read_token(text(value)),
    "teams": lambda value: teams.read(text(value)),
    "teams on this machine": lambda value: teams.read(text(value), loopback=True),
    "callback": lambda value: callback.read(text(value)),
    "links": lambda value: links.read(text(value)),
}
"""What each function reads from a secret's value."""
UNUSABLE = [
    ("slack", f"xoxb-{CANARY}\nxoxb-{CANARY}", "U+000A"),
    ("slack", f"xoxb\u2011{CANARY}", "U+2011"),
    ("slack", f"\ufeffxoxb-{CANARY}", "U+FEFF"),
    ("slack", f'{{"token": "xoxb-{CANARY}"}}', "U+007B"),
    ("slack", f'"xoxb-{CANARY}"', "U+0022"),
    ("slack", f"Bearer xoxb-{CANARY}", "U+0020"),
    ("slack", f"xoxb-{CANARY}\ud83d", "U+D83D"),
    ("slack", " \n", "empty"),
    ("teams", f"https://[{CANARY}/y", "no URL"),
    ("teams", f"https://[x/{CANARY}", "no URL"),
    ("teams", f"https://hooks.example.com:{CANARY}/x", "no URL"),
    ("teams", f"https://hooks.example.com:99999/{CANARY}", "no URL"),
    ("teams", f"https://hooks..example.com/{CANARY}", "no URL"),
    ("teams", f"https://{'a' * 64}.example.com/{CANARY}", "no URL"),
    ("teams", f"https:///{CANARY}", "no URL"),
    ("teams", f"https://hooks.example.com/{CANARY}\nhttps://hooks.example.com/{CANARY}", "U+000A"),
    ("teams", f"https://hooks.example.com/a b?sig={CANARY}", "U+0020"),
    ("teams", f"https://hooks\u2100.example.com/{CANARY}", "U+2100"),
    ("teams", f"http://hooks.example.com/{CANARY}", "no https URL"),
    ("teams", f"file:///etc/{CANARY}", "no URL"),
    ("teams on this machine", f"http://hooks.example.com/{CANARY}", "no https URL"),
    ("callback", f"{CANARY}=", "24 to 64 bytes"),
    ("callback", f"whsec_{CANARY}", "24 to 64 bytes"),
    ("callback", f"{CANARY}\u2011", "24 to 64 bytes"),
    ("callback", "whsec_", "24 to 64 bytes"),
    ("callback", "\n", "empty"),
    ("links", CANARY, "32 characters"),
    ("links", f"{CANARY}\u2011{'k' * 32}", "32 characters"),
    ("links", " ", "empty"),
]


def test_surrounding_white_space_of_a_valid_secret_is_removed() -> None:
    assert READERS["slack"](" xoxb-1-A\n") == "xoxb-1-A"
    assert READERS["slack"]("xoxe.xoxb-1-Mi0yL_a+b/c==") == "xoxe.xoxb-1-Mi0yL_a+b/c=="
    assert teams.read(text(" https://hooks.example.com/x?sig=a%2Fb\n")).query == "sig=a%2Fb"
    assert teams.read("http://127.0.0.1:8000/x", loopback=True).port == 8_000
    assert READERS["callback"](f"whsec_{'QUFB' * 8} {'QUJD' * 8}\n") == [b"AAA" * 8, b"ABC" * 8]


@pytest.mark.parametrize(("reader", "value", "defect"), UNUSABLE)
def test_the_error_about_an_unusable_secret_does_not_contain_its_value(reader: str, value: str, defect: str) -> None:
    with pytest.raises(UnusableSecret) as caught:
        READERS[reader](value)
    assert defect in str(caught.value)
    assert CANARY not in shown(caught.value)


@pytest.mark.parametrize("reader", READERS)
@FUZZED
@given(value=st.text() | st.from_regex(r"https?://[!-~]*") | st.text(st.characters(max_codepoint=0x7F)))
@example(value="https://[::1")
@example(value="https://[x/y")
@example(value="https://\u2100/")
@example(value="\ud800")
def test_any_text_is_either_accepted_as_a_secret_or_reported_as_unusable(reader: str, value: str) -> None:
    with suppress(UnusableSecret):
        READERS[reader](value)
