"""Tests Slack messages: all customer text is shown as typed and within Slack's limits."""

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assistance.domain.record import StandsInFor
from assistance.models import MAX_DESCRIPTION_CHARACTERS, AssistanceRequest, Customer, Detail, Outgoing
from assistance.routing import Channel
from assistance.slack import blocks, message
from assistance.text import printable
from local.slack_workspace import check_blocks
from tests.sample_requests import (
    ANNA,
    ID,
    LONG_URL,
    OUTGOING,
    REACHABLE,
    REQUESTS,
    RESENT,
    WIDEST,
    fullest,
    request,
    to_send,
)
from tests.unit.test_messages import UNSEEN

# The project's own Slack markup: links that were checked, and times.
MARKUP = re.compile(r"<(?:mailto:|tel:|https://)[^<>|]+\|[^<>|]+>|<!date\^\d+\^[^<>|^]+\|[-0-9: UTC]+>")


AT = datetime(2026, 1, 1, 1, tzinfo=UTC)


def compose(outgoing: Sequence[Outgoing], **how: Any) -> dict[str, Any]:  # noqa: ANN401
    """The Slack message about these requests, posted an hour after they were accepted. `how`: further arguments."""
    return message.compose(outgoing, AT, **how)


def digests(outgoing: Sequence[Outgoing], **how: Any) -> Iterator[list[Outgoing]]:  # noqa: ANN401
    return message.digests(outgoing, AT, **how)


@dataclass(frozen=True)
class By:
    """A take, with the two fields that messages show: the person's name, and the time in milliseconds since 1970."""

    by: str
    at: int = 1_767_256_320_000


def texts(part: object) -> Iterator[tuple[str, str]]:
    """The kind (`mrkdwn` or `plain_text`) and the text of every text object in a part of a message."""
    if isinstance(part, dict):
        if part.get("type") in {"mrkdwn", "plain_text"}:
            yield part["type"], part["text"]
        for each in part.values():
            yield from texts(each)
    elif isinstance(part, list):
        for each in part:
            yield from texts(each)


def shown(drawn: Sequence[dict[str, Any]]) -> str:
    """All text that a person reads in these blocks."""
    return "\n".join(html.unescape(re.sub(r"<[^|<>]*\|([^<>]*)>", r"\1", text)) for _, text in texts(list(drawn)))


def described(drawn: Sequence[dict[str, Any]]) -> str:
    """The request's description as these blocks show it: the text of the sections with plain text."""
    return html.unescape(
        "".join(
            it["text"]["text"] for it in drawn if it["type"] == "section" and it.get("text", {}).get("emoji") is False
        )
    )


def check(composed: dict[str, Any]) -> None:
    """Check that Slack accepts the message, and that it contains no markup from customer text."""
    check_blocks(composed["blocks"])
    assert "<" not in composed["text"]
    for kind, text in texts(composed["blocks"]):
        rest = text if kind == "plain_text" else MARKUP.sub("", text)
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", rest), text
    for button in buttons(composed["blocks"]):
        assert len(button["text"]["text"]) <= 75
        assert len(button["action_id"]) <= 255
        assert len(button.get("url", "")) <= 3_000
        assert len(button.get("value", "")) <= 2_000


def buttons(part: object) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if part.get("type") == "button":
            yield part
        for each in part.values():
            yield from buttons(each)
    elif isinstance(part, list):
        for each in part:
            yield from buttons(each)


@given(asked=REQUESTS, take=st.booleans(), taken=st.none() | st.just(By("@anna")))
def test_a_slack_message_shows_the_complete_request_as_plain_text_within_slacks_limits(
    asked: AssistanceRequest, *, take: bool, taken: By | None
) -> None:
    composed = compose([to_send(asked)], take=take, taken={asked.id: taken} if taken and take else {})
    check(composed)
    assert described(composed["blocks"]) == printable(asked.description)
    if blocks.size(composed["blocks"]) > message.MAX_MESSAGE_CHARACTERS:
        assert "Left out" in shown(composed["blocks"]) or not asked.details, "only a description is never shortened"


@pytest.mark.parametrize("one", WIDEST)
def test_a_request_whose_fields_have_maximum_length_is_shown_completely_or_with_a_note_on_what_is_missing(
    one: str,
) -> None:
    asked = request(one * MAX_DESCRIPTION_CHARACTERS, **fullest(one, url=LONG_URL))
    composed = compose([to_send(asked)], take=True)
    check(composed)
    assert described(composed["blocks"]) == printable(asked.description)
    assert re.search("more characters|details: this message has no room", shown(composed["blocks"]))
    [opens, takes] = buttons(composed["blocks"])
    assert (opens["url"], takes["value"]) == (LONG_URL, f"{ID} slack")


def test_customer_data_is_shown_with_links_for_email_phone_and_conversation() -> None:
    details = (Detail(label="Plan", value="Pro"), Detail(label="Seats", value="12"))
    url = "https://app.example.com/42?a=1&b=2"
    asked = request("Does *40* fit? :)", customer=ANNA, conversation_url=url, reference="chat-17", details=details)
    composed = compose([to_send(asked)])
    check(composed)
    title, description, facts, actions, small = composed["blocks"]
    assert title["text"]["text"] == "New sales request"
    assert description["text"] == {"type": "plain_text", "text": "Does *40* fit? :)", "emoji": False}
    assert [it["text"] for it in facts["fields"]] == [
        "*Name*\nAnna Example",
        "*Email*\n<mailto:anna@example.org|anna@example.org>",
        "*Phone*\n<tel:+49301234567|+49 30 1234567>",
        "*Plan*\nPro",
        "*Seats*\n12",
    ]
    assert [(it["text"]["text"], it["url"]) for it in actions["elements"]] == [("Open conversation", url)]
    assert [it["text"] for it in small["elements"]] == [
        "<!date^1767225600^{date_short_pretty}, {time}|2026-01-01 00:00 UTC>",
        ID,
        "Reference: chat-17",
    ]


def test_an_invalid_email_address_phone_number_or_url_is_shown_unchanged_and_without_a_link() -> None:
    customer = Customer(name="*Anna*", email="anna(at)example", phone="after 5 pm :)")
    asked = request(customer=customer, conversation_url="javascript:alert(1)")
    for composed in (compose([to_send(asked)]), compose([to_send(asked)] * 2)):
        check(composed)
        for typed in ("*Anna*", "anna(at)example", "after 5 pm :)", "javascript:alert(1)"):
            kinds = [kind for kind, text in texts(composed["blocks"]) if typed in text]
            assert set(kinds) == {"plain_text"}
        assert not list(buttons(composed["blocks"]))


def test_the_notification_text_of_a_slack_message_shows_topic_customer_and_beginning_of_the_description() -> None:
    asked = request("Does the\nyearly plan " + "x" * 200, customer=ANNA)
    composed = compose([to_send(asked)])
    assert composed["text"].startswith("Sales: Anna Example: Does the yearly plan xxx")
    assert composed["text"].endswith("x…")
    assert len(composed["text"]) == len("Sales: Anna Example: ") + message.PREVIEW_CHARACTERS
    assert composed["mrkdwn"] is False, "a notification shows *40* as it is"
    assert compose([to_send(request("hi"))])["text"] == "Sales: hi"


def test_a_fallback_message_begins_with_the_reason_why_it_was_sent_to_slack() -> None:
    outgoing = to_send(request(), cause=StandsInFor(Channel.EMAIL, "MessageRejected"), **RESENT)
    _, notes, *_ = compose([outgoing])["blocks"]
    assert [it["text"] for it in notes["elements"]] == [
        "Sent here because the email could not be delivered (MessageRejected).",
        "Sent again: an operator has asked for it.",
    ]


@given(batch=st.lists(OUTGOING, max_size=60), take=st.booleans(), taken=st.booleans())
def test_digests_contain_every_request_once_completely_and_within_slacks_limits(
    batch: list[Outgoing], *, take: bool, taken: bool
) -> None:
    batch = [
        replace(one, request=one.request.model_copy(update={"id": str(UUID(int=n))})) for n, one in enumerate(batch)
    ]
    made = list(digests(batch, take=take))
    assert sorted(one.request.id for digest in made for one in digest) == sorted(one.request.id for one in batch)
    for digest in made:
        assert len({bool(one.doubts) for one in digest}) == 1
        by = {one.request.id: By("@" + "n" * 99) for one in digest} if taken and take else {}
        composed = compose(digest, take=take, taken=by)
        check(composed)
        assert message.payloads(composed) == [message.payload(one.request.id, one.delivery.name) for one in digest]
        if len(digest) > 1:
            assert not any(one.alone for one in digest)
            assert blocks.size(composed["blocks"]) <= message.MAX_MESSAGE_CHARACTERS
            entries = divided(composed["blocks"][1:])
            assert len(entries) == len(digest)
            for one, entry in zip(digest, entries, strict=True):
                assert described(entry) == printable(one.request.description)
                [about] = [it["fields"][0]["text"] for it in entry if it.get("text") and "fields" in it]
                assert about.endswith(one.request.id) or one.request.id in by, "no customer can feign it"
                for detail in one.request.details:
                    assert printable(detail.value).strip() in shown(entry)


def divided(drawn: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The blocks of each entry of a digest. An entry ends with its fields or its buttons."""
    entries: list[list[dict[str, Any]]] = [[]]
    for block in (each for each in drawn if each["type"] != "divider"):
        before = entries[-1][-1] if entries[-1] else {}
        if "text" in block and ("fields" in before or before.get("type") == "actions"):
            entries.append([])
        entries[-1].append(block)
    return entries


def test_a_digest_shows_the_oldest_request_first_and_counts_requests_by_topic() -> None:
    days = ["03", "01", "02"]
    asked = [
        request(f"of day {day}", str(uuid4()), created_at=f"2026-01-{day}T00:00:00.000Z", topic=topic)
        for day, topic in zip(days, ["sales", "by_all_means", "sales"], strict=True)
    ]
    [digest] = digests([to_send(one) for one in asked])
    composed = compose(digest)
    title = "3 new requests: 2 Sales, 1 By all means"
    assert (composed["text"], composed["blocks"][0]["text"]["text"]) == (title, title)
    assert [described(entry) for entry in divided(composed["blocks"][1:])] == ["of day 01", "of day 02", "of day 03"]
    assert composed == compose(list(reversed(digest)))


def test_the_title_of_a_digest_with_one_topic_names_the_topic_once() -> None:
    asked = [to_send(request(topic="sales", id_=str(uuid4()))) for _ in range(3)]
    assert compose(asked)["text"] == "3 new sales requests"


def test_the_title_of_a_digest_names_as_many_topics_as_fit_into_a_slack_header() -> None:
    asked = [to_send(request(topic=f"topic-{'x' * 24}-{n:d}"[:32], id_=str(uuid4()))) for n in range(9)]
    title = compose(asked)["blocks"][0]["text"]["text"]
    assert len(title) <= message.MAX_TITLE_CHARACTERS
    assert re.search(r"9 new requests: 1 Topic .*, \d others$", title)


URL = "https://app.example.com/conversations/42"
DETAILS = (Detail(label="Plan", value="Pro"), Detail(label="Seats", value="40"))


@pytest.mark.parametrize(
    ("characters", "said"),
    [
        (200, {"customer": ANNA, "conversation_url": URL}),
        (150, {"customer": ANNA, "conversation_url": URL, "reference": "chat-17", "details": DETAILS}),
    ],
)
def test_a_digest_can_contain_more_than_twenty_requests_with_all_fields_and_a_take_button(
    characters: int, said: dict[str, Any]
) -> None:
    asked = [to_send(request("x" * characters, str(uuid4()), **said)) for _ in range(100)]
    first, *_ = digests(asked, take=True)
    assert len(first) > 20
    assert len(list(buttons(compose(first, take=True)["blocks"]))) == len(first)


def test_a_digest_has_dividers_between_its_entries_unless_they_would_exceed_slacks_block_limit() -> None:
    asked = [to_send(request("x" * 200, str(UUID(int=n)), customer=ANNA)) for n in range(100)]
    for few in (asked[:2], asked[:15]):
        drawn = compose(few, take=True)["blocks"]
        assert [block["type"] for block in drawn] == ["header", *(["section", "divider"] * len(few))[:-1]]
    many, *_ = digests(asked, take=True)
    assert [block["type"] for block in compose(many, take=True)["blocks"]] == ["header", *["section"] * len(many)]


@pytest.mark.parametrize(("hours", "day"), [(11, False), (13, True)])
def test_a_digest_entry_shows_the_date_if_the_request_was_accepted_half_a_day_before_the_post(
    hours: int, *, day: bool
) -> None:
    asked = [to_send(request(id_=str(UUID(int=n)))) for n in range(2)]
    drawn = message.compose(asked, AT + timedelta(hours=hours - 1))["blocks"]
    assert ("{date_short_pretty}" in json.dumps(drawn)) is day


def test_a_digest_can_contain_one_request_of_any_length() -> None:
    longest = [to_send(request("&" * MAX_DESCRIPTION_CHARACTERS, str(uuid4()))) for _ in range(3)]
    assert [len(digest) for digest in digests(longest)] == [1, 1, 1]


def test_a_digest_entry_shows_a_take_button_or_the_person_who_took_the_request() -> None:
    url = "https://app.example.com/42"
    asked = [to_send(request(id_=str(UUID(int=n)), conversation_url=url)) for n in range(25)]
    before = compose(asked, take=True)
    assert [it["value"] for it in buttons(before["blocks"])] == [f"{UUID(int=n)} slack" for n in range(25)]
    assert {it["action_id"] for it in buttons(before["blocks"])} == {"take"}
    after = compose(asked, take=True, taken={str(UUID(int=7)): By("@anna"), str(UUID(int=9)): By("@bert")})
    check(after)
    drawn = [(it["action_id"], it["value"]) for it in buttons(after["blocks"])]
    assert drawn == [("release" if n in {7, 9} else "take", f"{UUID(int=n)} slack") for n in range(25)]
    entries = divided(after["blocks"][1:])
    assert "Taken by @anna, <!date^1767256320^{time}|08:32 UTC>" in json.dumps(entries[7])
    assert "@bert" in shown(entries[9])
    assert "Taken" not in shown([block for n, entry in enumerate(entries) if n not in {7, 9} for block in entry])
    assert all("Open conversation" in shown(entry) for entry in entries)
    assert not any(it.get("action_id") == "take" for it in buttons(compose(asked)["blocks"])), "off by default"


def test_a_digest_whose_requests_are_all_taken_stays_within_slacks_limits() -> None:
    asked = [to_send(request(id_=str(UUID(int=n)))) for n in range(60)]
    for digest in digests(asked, take=True):
        by = {one.request.id: By("x" * 80) for one in digest}
        assert blocks.size(compose(digest, take=True, taken=by)["blocks"]) <= message.MAX_MESSAGE_CHARACTERS


def test_a_message_with_one_request_shows_a_take_button_or_the_person_who_took_the_request() -> None:
    one = to_send(request(), name="slack#2")
    [button] = buttons(compose([one], take=True)["blocks"])
    assert (button["action_id"], button["value"]) == ("take", f"{ID} slack#2")
    taken = compose([one], take=True, taken={ID: By("A <!channel> & co")})
    check(taken)
    assert [it["action_id"] for it in buttons(taken["blocks"])] == ["release"]
    assert "Taken by A <!channel> & co, 08:32 UTC" in shown(taken["blocks"])


@pytest.mark.parametrize(
    ("by", "name"),
    [("@anna_b.c", "@anna_b.c"), ("*Anna* _B_ :tada: ~c~ `d`", "Anna B tada c d"), ("@here", "@here")],
)
def test_the_name_of_the_person_who_took_a_request_is_escaped(by: str, name: str) -> None:
    """A person with a take link may type any name. With `verbatim` Slack turns no word into a mention."""
    for asked in ([to_send(request())], [to_send(request()), to_send(request(id_=str(UUID(int=1))))]):
        drawn = json.dumps(compose(asked, take=True, taken={ID: By(by)})["blocks"])
        assert f"Taken by {name}, <!date" in drawn
        assert drawn.count('"mrkdwn"') == drawn.count('"verbatim": true')


def test_a_reference_with_line_breaks_cannot_imitate_lines_written_by_this_project() -> None:
    drawn = compose([to_send(request(reference="chat-17\nTaken by @anna"))])["blocks"]
    assert drawn[-1]["elements"][-1]["text"] == "Reference: chat-17 Taken by @anna"


@given(st.text(st.sampled_from(UNSEEN)), st.lists(st.text(st.sampled_from([*UNSEEN, "x"]), max_size=9), max_size=3))
@example("", ["&" * 600, " " * 3_000, "x"])
@example("\u202e \u202c", [])
@example(" ", [])
def test_slack_never_gets_a_text_element_without_visible_characters(text: str, more: list[str]) -> None:
    description = text + "".join(more)
    said: dict[str, Any] = {
        "customer": Customer(name=text or "x"),
        "details": (Detail(label=text or "x", value=text or "x"),),
    }
    alone = compose([to_send(request(description, **said))])
    digest = compose([to_send(request(description, **said)), to_send(request("x"))])
    for _, each in texts([*alone["blocks"], *digest["blocks"]]):
        assert set(each) - set(UNSEEN)


HOSTILE = "<!channel> <https://x.test|pay here> &amp; *bold* :)"


@pytest.mark.parametrize("several", [False, True])
def test_every_text_of_a_request_is_escaped_for_slack(*, several: bool) -> None:
    said = fullest("x") | {"customer": Customer(name=HOSTILE, email=HOSTILE, phone=HOSTILE), "reference": HOSTILE}
    hostile = request(
        HOSTILE, **said | {"details": (Detail(label=HOSTILE, value=HOSTILE),), "conversation_url": HOSTILE}
    )
    hostile = hostile.model_copy(update={"topic": HOSTILE})
    outgoing = to_send(hostile, cause=StandsInFor(Channel.EMAIL, HOSTILE))
    composed = compose([outgoing] * (2 if several else 1))
    check(composed)
    assert html.unescape(json.dumps(composed["blocks"], ensure_ascii=False)).count(HOSTILE) >= 8


def test_any_valid_email_address_becomes_a_mailto_link() -> None:
    composed = compose([to_send(request(customer=REACHABLE))])
    check(composed)
    [email] = [text for _, text in texts(composed["blocks"]) if text.startswith("*Email")]
    assert email.startswith(f"*Email*\n<mailto:{'%25' * 64}@xxx")


def test_a_customers_name_cannot_make_an_untaken_digest_entry_look_taken() -> None:
    named = to_send(request(customer=Customer(name="Taken by Anna Keller, today")))
    drawn = compose([named, to_send(request(id_=str(UUID(int=1))))], take=True)["blocks"]
    for block in drawn:
        for field in block.get("fields", ()):
            assert not any(line.startswith("Taken by") for line in field["text"].split("\n"))
