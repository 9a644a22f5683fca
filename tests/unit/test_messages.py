"""Customers' text is shown whole, and as text."""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assistance.domain.record import Attempt
from assistance.engine.outbox import Publication
from assistance.engine.publisher import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, batches
from assistance.models import MAX_DESCRIPTION_CHARACTERS, AssistanceRequest, Fallback, Message, Outgoing, RouteThen
from assistance.routing import Channel, Topic
from assistance.text import explain, is_blank, printable
from email_consumer import message as email
from slack_consumer import message as slack

# The API accepts no other.
DESCRIPTIONS = st.text(min_size=1, max_size=MAX_DESCRIPTION_CHARACTERS).filter(lambda text: not is_blank(text))
# What grows most in each encoding, at the longest that is accepted.
LONGEST = st.sampled_from(["&", "<", "\x00", '"', "é", "漢", "🙂"]).map(lambda one: one * MAX_DESCRIPTION_CHARACTERS)


ID = "01900000-0000-7000-8000-000000000000"


def request(description: str, id_: str = ID) -> AssistanceRequest:
    return AssistanceRequest(id=id_, topic=Topic.SALES, description=description, created_at="2026-01-01T00:00:00.000Z")


@given(DESCRIPTIONS | LONGEST)
def test_slack_gets_every_character_escaped_in_blocks_of_the_allowed_size(description: str) -> None:
    message = slack.compose([Outgoing(request(description))])
    sections = [block["text"]["text"] for block in message["blocks"] if block["type"] == "section"]
    restored = "".join(sections).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert restored == printable(description)
    assert all(0 < len(section) <= slack.MAX_BLOCK_CHARACTERS for section in sections)
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", "".join(sections))
    assert len(message["blocks"]) <= 50


DOUBTS = (Attempt("attempt", 0, in_doubt=True),)
OUTGOING = st.builds(
    lambda description, in_doubt, alone: Outgoing(request(description), doubts=DOUBTS * in_doubt, **alone),
    st.text(max_size=40).map(lambda short: f"?{short}") | DESCRIPTIONS | LONGEST,
    st.booleans(),
    st.sampled_from(
        [
            {},
            {},
            {},
            {"resend": "by hand"},
            {"refused_together": True},
            {"fallback": Fallback(channel=Channel.SLACK, failed_channel=Channel.EMAIL, error="rejected")},
        ]
    ),
)


@given(st.lists(OUTGOING, max_size=120))
def test_digests_hold_every_request_once_whole_and_within_slacks_limits(batch: list[Outgoing]) -> None:
    batch = [replace(one, request=request(one.request.description, str(UUID(int=n)))) for n, one in enumerate(batch)]
    made = list(slack.digests(batch))
    assert sorted(one.request.id for digest in made for one in digest) == sorted(one.request.id for one in batch)
    for digest in made:
        assert len({one.in_doubt for one in digest}) == 1
        message = slack.compose(digest)
        assert len(message["blocks"]) <= 50
        assert slack.payloads(message) == [slack.payload(one) for one in digest]
        if len(digest) > 1:
            assert not any(one.alone for one in digest)
            # Slack advises 12,000 characters and room for the blocks: https://github.com/slackapi/bolt-js/issues/2509
            assert len(json.dumps(message["blocks"], ensure_ascii=False)) <= 12_000
            entries = iter(message["blocks"][1:])
            for one in digest:
                assert told(entries, one) == printable(one.request.description)
            assert not list(entries)


def told(entries: Iterator[dict[str, Any]], outgoing: Outgoing) -> str:
    """The description that the next blocks show, up to the one that names the request."""
    sections = []
    for block in entries:
        sections.append(block["text"]["text"])
        assert 0 < len(sections[-1]) <= slack.MAX_BLOCK_CHARACTERS
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", sections[-1])
        if fields := block.get("fields"):
            assert [outgoing.request.id in field["text"] for field in fields] == [True]
            break
    return html.unescape("".join(sections))


def test_a_digest_takes_more_requests_than_twenty_and_one_of_any_length() -> None:
    ids = [str(uuid4()) for _ in range(100)]
    first, *_ = slack.digests([Outgoing(request("x" * 250, id_)) for id_ in ids])
    assert len(first) > 20, "more than come in a second"
    longest = [Outgoing(request("&" * MAX_DESCRIPTION_CHARACTERS, id_)) for id_ in ids[:3]]
    assert [len(digest) for digest in slack.digests(longest)] == [1, 1, 1]


@given(DESCRIPTIONS)
def test_email_headers_hold_nothing_that_a_customer_wrote(description: str) -> None:
    subject = email.compose(Outgoing(request(description)))["Simple"]["Subject"]["Data"]
    assert subject == email.compose(Outgoing(request("other")))["Simple"]["Subject"]["Data"]


@given(DESCRIPTIONS)
def test_email_shows_the_description_as_text_and_escaped_in_html(description: str) -> None:
    body = email.compose(Outgoing(request(description)))["Simple"]["Body"]
    assert printable(description) in body["Text"]["Data"]
    assert html.escape(printable(description)) in body["Html"]["Data"]


def test_no_html_of_a_customers_reaches_the_mail() -> None:
    body = email.compose(Outgoing(request("<script>alert(1)</script>")))["Simple"]["Body"]
    assert "<script>" not in body["Html"]["Data"]


def publication(description: str) -> Publication:
    route = RouteThen(channels=(Channel.SLACK,))
    message = Message(request=request(description), route=route, ttl=0)
    return Publication(message, (Channel.SLACK,), message.request.created_at, (ID, "REQUEST"))


@given(st.lists(DESCRIPTIONS | LONGEST, max_size=25))
def test_batches_keep_order_and_sns_limits(descriptions: list[str]) -> None:
    entries = [publication(description) for description in descriptions]
    made = list(batches(entries))
    assert [entry for batch in made for entry in batch] == entries
    for batch in made:
        assert 0 < len(batch) <= MAX_BATCH_ENTRIES
        assert sum(len(json.dumps(entry.message.request.description)) for entry in batch) <= MAX_BATCH_BYTES


# Beside the description a message takes so many bytes, and 256 are set aside for its attributes.
OVERHEAD = len(publication("").message.model_dump_json(exclude_none=True)) + 256


@pytest.mark.parametrize(
    ("characters", "sizes"),
    [(1, [10, 10, 1]), (MAX_BATCH_BYTES // 2 - OVERHEAD, [2, 2, 1]), (MAX_BATCH_BYTES // 2 - OVERHEAD + 1, [1, 1, 1])],
)
def test_batches_are_as_large_as_sns_allows(characters: int, sizes: list[int]) -> None:
    entries = [publication("x" * characters) for _ in range(sum(sizes))]
    assert [len(batch) for batch in batches(entries)] == sizes


def test_control_characters_become_a_visible_mark_and_line_ends_newlines() -> None:
    assert printable("a\r\nb\rc\td\u2028e\u2029f") == "a\nb\nc\td\ne\nf"
    assert printable("\x00\x1f\x7f\x85\ufff9\ufffe\uffff") == "\ufffd" * 7


def test_text_is_shown_in_the_order_in_which_it_was_typed() -> None:
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


def test_a_text_without_anything_to_see_becomes_a_visible_mark() -> None:
    assert printable("\u202e \u202c") == "\ufffd"
    assert {printable(character) for character in UNSEEN if character.strip()} == {"\ufffd"}
    assert printable("") == ""


@given(st.text(st.sampled_from(UNSEEN)), st.lists(st.text(st.sampled_from([*UNSEEN, "x"]), max_size=9), max_size=3))
@example("", ["&" * 600, " " * 3_000, "x"])
@example("\u202e \u202c", [])
@example(" ", [])
def test_slack_gets_no_blank_block(text: str, more: list[str]) -> None:
    description = text + "".join(more)
    alone = slack.compose([Outgoing(request(description))])
    digest = slack.compose([Outgoing(request(description)), Outgoing(request("x"))])
    for block in [*alone["blocks"], *digest["blocks"]]:
        if block["type"] == "section":
            assert set(block["text"]["text"]) - set(UNSEEN)


def test_invisible_tags_become_visible() -> None:
    assert printable("hi" + "".join(chr(0xE0000 + ord(letter)) for letter in "pay")) == "hi" + "\ufffd" * 3


def test_selectors_after_a_selector_which_nobody_sees_become_visible() -> None:
    """A byte can be written as one of 256 variation selectors: text of any length would hide behind one letter."""
    hidden = "".join(chr(0xE0100 + byte - 16) for byte in b"pay here")
    assert printable("\U0001f642" + hidden) == "\U0001f642" + hidden[0] + "\ufffd" * 7
    assert printable("x\ufe0f\ufe0e") == "x\ufe0f\ufffd"


def test_controls_that_unicode_has_given_up_become_visible() -> None:
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
def test_honest_text_of_any_language_stays_as_it_is(honest: str) -> None:
    assert printable(honest) == honest


HOSTILE = "<!channel> <https://x.test|pay here> &amp; *bold*"


def strings(part: object) -> Iterator[str]:
    """All texts in a message that Slack reads as mrkdwn."""
    if isinstance(part, dict):
        if part.get("type") == "mrkdwn":
            yield part["text"]
        for each in part.values():
            yield from strings(each)
    elif isinstance(part, list):
        for each in part:
            yield from strings(each)


@pytest.mark.parametrize("several", [False, True])
def test_every_field_of_a_request_is_escaped_in_slacks_markup(*, several: bool) -> None:
    hostile = request("help").model_copy(update={"topic": HOSTILE, "description": HOSTILE, "created_at": HOSTILE})
    fallback = Fallback(channel=Channel.SLACK, failed_channel=Channel.EMAIL, error=HOSTILE)
    outgoing = [Outgoing(hostile, fallback=None if several else fallback)] * (2 if several else 1)
    message = slack.compose(outgoing)
    for text in (message["text"], *strings(message["blocks"])):
        assert "<" not in text
        assert not re.search("&(?!amp;|lt;|gt;)", text)


def test_the_reader_is_told_which_way_a_request_has_come() -> None:
    one, fallback = request("help"), Fallback(channel=Channel.EMAIL, failed_channel=Channel.SLACK, error="is_archived")
    assert explain(Outgoing(one)) == []
    assert explain(Outgoing(one, fallback=fallback, resend="by hand")) == [
        "This comes by email because delivery by slack failed: is_archived.",
        "An operator has sent this once more.",
    ]
