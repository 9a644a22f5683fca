"""Tests that customers' text is shown completely and as plain text, and that messages fit into SNS's batches."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistance.domain.record import StandsInFor, Untaken
from assistance.engine.outbox import Publication
from assistance.engine.publisher import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, batches
from assistance.models import Message, StoredRoute
from assistance.routing import Channel
from assistance.text import explain, printable
from tests.sample_requests import DESCRIPTIONS, LONGEST, RESENT, request, to_send


def publication(description: str) -> Publication:
    route = StoredRoute(channels=(Channel.SLACK,))
    message = Message(request=request(description), route=route, ttl=0)
    return Publication(message, (Channel.SLACK,), message.request.created_at)


@given(st.lists(DESCRIPTIONS | LONGEST, max_size=25))
def test_sns_batches_keep_the_order_of_messages_and_the_limits_of_sns(descriptions: list[str]) -> None:
    entries = [publication(description) for description in descriptions]
    made = list(batches(entries))
    assert [entry for batch in made for entry in batch] == entries
    for batch in made:
        assert 0 < len(batch) <= MAX_BATCH_ENTRIES
        assert sum(len(json.dumps(entry.message.request.description)) for entry in batch) <= MAX_BATCH_BYTES


# A message without its description has that many bytes, and 256 bytes are reserved for its attributes.
OVERHEAD = len(publication("").message.model_dump_json(exclude_none=True)) + 256


@pytest.mark.parametrize(
    ("characters", "sizes"),
    [(1, [10, 10, 1]), (MAX_BATCH_BYTES // 2 - OVERHEAD, [2, 2, 1]), (MAX_BATCH_BYTES // 2 - OVERHEAD + 1, [1, 1, 1])],
)
def test_sns_batches_are_as_large_as_sns_allows(characters: int, sizes: list[int]) -> None:
    entries = [publication("x" * characters) for _ in range(sum(sizes))]
    assert [len(batch) for batch in batches(entries)] == sizes


def test_control_characters_become_a_visible_placeholder_and_line_breaks_become_newlines() -> None:
    assert printable("a\r\nb\rc\td\u2028e\u2029f") == "a\nb\nc\td\ne\nf"
    assert printable("\x00\x1f\x7f\x85\ufff9\ufffe\uffff") == "\ufffd" * 7


def test_bidirectional_control_characters_are_removed() -> None:
    assert printable("invoice \u202egnp.exe") == "invoice gnp.exe"
    assert printable("".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)])) + "x") == "x"
    assert printable("\u202e") == "\ufffd"


def test_invisible_characters_inside_words_are_removed() -> None:
    assert printable("so\u00adft\u2060ware \ufeffpass\u2063word") == "software password"


# Unicode's Default_Ignorable_Code_Point, Braille's blank, and white space:
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
UNSEEN = [
    *map(chr, [0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0x200B, 0x2010)]),
    *map(chr, [*range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x2800, 0x3164, *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0]),
    *map(chr, [*range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000)]),
    *(character for character in map(chr, range(0x3001)) if character.isspace()),
]


def test_a_text_without_visible_characters_becomes_a_visible_placeholder() -> None:
    assert printable("\u202e \u202c") == "\ufffd"
    assert {printable(character) for character in UNSEEN if character.strip()} == {"\ufffd"}
    assert printable("") == ""


def test_invisible_unicode_tag_characters_become_visible() -> None:
    assert printable("hi" + "".join(chr(0xE0000 + ord(letter)) for letter in "pay")) == "hi" + "\ufffd" * 3


def test_repeated_unicode_variation_selectors_become_visible() -> None:
    """Each of 256 variation selectors can encode a byte, so a text of any length could hide behind one letter."""
    hidden = "".join(chr(0xE0100 + byte - 16) for byte in b"pay here")
    assert printable("\U0001f642" + hidden) == "\U0001f642" + hidden[0] + "\ufffd" * 7
    assert printable("x\ufe0f\ufe0e") == "x\ufe0f\ufffd"


def test_deprecated_unicode_control_characters_become_visible() -> None:
    assert printable("".join(map(chr, range(0x206A, 0x2070)))) == "\ufffd" * 6


@pytest.mark.parametrize(
    "honest",
    [
        "\u2764\ufe0f\u200d\U0001f525 1\ufe0f\u20e3 \u845b\U000e0100",  # emoji, and a form of a Han character
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a zero-width non-joiner
        "\u05e9\u05dc\u05d5\u05dd, \u200fSlack\u200e 5\u061c",  # Hebrew, with marks of direction
        "\U0001f469\u200d\U0001f4bb",  # a woman at a computer, joined of two
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland's flag
        "na\u00efve cafe\u0301 \u0e01\u0e33 \u4f60\u597d",
    ],
)
def test_ordinary_text_of_any_language_stays_unchanged(honest: str) -> None:
    assert printable(honest) == honest


def test_a_fallback_message_says_why_the_request_was_sent_to_that_channel() -> None:
    one, instead = request("help"), StandsInFor(Channel.SLACK, "is_archived")
    assert explain(to_send(one)) == []
    assert explain(to_send(one, cause=instead, **RESENT)) == [
        "Sent here because the Slack message could not be posted (is_archived).",
        "Sent again: an operator has asked for it.",
    ]


def test_a_fallback_message_names_the_failed_channel_even_if_no_special_wording_exists_for_it(
    added_channel: Channel,
) -> None:
    outgoing = to_send(request("help"), cause=StandsInFor(added_channel, "is_archived"))
    assert explain(outgoing) == ["Sent here because the Pigeon message could not be sent (is_archived)."]


@pytest.mark.parametrize(("minutes", "within"), [(1, "1 minute"), (30, "30 minutes")])
def test_an_escalation_message_says_for_how_long_nobody_had_taken_the_request(minutes: int, within: str) -> None:
    text = explain(to_send(request("help"), cause=Untaken(minutes=minutes)))
    assert text == [f"Sent here because nobody is handling it, and the time to take it ({within}) is over."]
