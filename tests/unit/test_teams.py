"""What Teams is sent, and what its workflow's answers mean."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure
from assistance.models import MAX_DESCRIPTION_CHARACTERS, AssistanceRequest, Fallback, Outgoing
from assistance.routing import Channel
from teams_consumer.failures import ANSWERS, classify
from teams_consumer.message import MAX_BYTES, compose

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUEST = AssistanceRequest(
    id="01900000-0000-7000-8000-000000000000",
    topic="by_all_means",
    description="help",
    created_at="2026-03-01T12:00:00.000Z",
)


def card(outgoing: Outgoing) -> dict[str, Any]:
    message = json.loads(compose(outgoing))
    [attachment] = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    content: dict[str, Any] = attachment["content"]
    assert (content["type"], content["version"]) == ("AdaptiveCard", "1.4")
    return content


def texts(outgoing: Outgoing) -> list[str]:
    blocks = card(outgoing)["body"]
    # Nothing that reads Markdown, and nothing to click on.
    assert {block["type"] for block in blocks} == {"RichTextBlock"}
    assert {run["type"] for block in blocks for run in block["inlines"]} == {"TextRun"}
    return [run["text"] for block in blocks for run in block["inlines"]]


def test_a_card_says_what_it_is_about_and_how_it_has_come() -> None:
    fallback = Fallback(channel=Channel.TEAMS, failed_channel=Channel.SLACK, error="is_archived")
    title, description, *notes = texts(Outgoing(REQUEST, fallback=fallback, resend="act"))
    assert (title, description) == ("New by_all_means request", "help")
    assert notes == [
        f"{REQUEST.id} · 2026-03-01T12:00:00.000Z",
        "This comes by teams because delivery by slack failed: is_archived.",
        "An operator has sent this once more.",
    ]


@given(st.text(min_size=1))
def test_a_customer_s_text_stands_in_the_card_as_it_is(text: str) -> None:
    for typed in (text, f"{text} **bold** [a](https://evil.example) <at>all</at>\n- item"):
        shown = texts(Outgoing(replace_description(typed)))[1]
        assert len(shown) <= len(typed)
        assert [c for c in shown if c.isprintable()] == [c for c in typed if c.isprintable()] or "\ufffd" in shown
    assert "entities" not in card(Outgoing(replace_description(text)))["msteams"]


def replace_description(description: str) -> AssistanceRequest:
    return REQUEST.model_copy(update={"description": description})


@pytest.mark.parametrize("character", ["a", "\n", '"', "é", "€", "🎉", "\x00"])
def test_the_longest_description_fits_into_a_message_whole(character: str) -> None:
    outgoing = Outgoing(replace_description(character * MAX_DESCRIPTION_CHARACTERS))
    assert len(compose(outgoing)) < MAX_BYTES
    assert len(texts(outgoing)[1]) == MAX_DESCRIPTION_CHARACTERS


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after", "in_doubt"),
    [
        (400, {}, PermanentFailure, None, None),
        (401, {}, PermanentFailure, None, None),
        (403, {}, PermanentFailure, None, None),
        (404, {}, PermanentFailure, None, None),
        (410, {}, PermanentFailure, None, None),
        (429, {"retry-after": "17"}, RateLimited, 17, False),
        (429, {}, RateLimited, None, False),
        (503, {"retry-after": "99999999"}, TransientFailure, 1_800, True),
        (500, {}, TransientFailure, None, True),
        (307, {}, TransientFailure, None, False),
        (408, {}, TransientFailure, None, False),
        (599, {}, TransientFailure, None, True),
    ],
)
def test_an_answer_is_classified(
    status: int, headers: dict[str, str], kind: type[DeliveryError], retry_after: float | None, *, in_doubt: bool | None
) -> None:
    failure = classify(status, headers, NOW)
    assert type(failure) is kind
    assert failure.code == f"http_{status}"
    if isinstance(failure, TransientFailure):
        assert (failure.retry_after, failure.in_doubt) == (retry_after, in_doubt)


def test_whatever_is_accepted_is_no_failure_and_whatever_is_listed_is_one() -> None:
    assert [classify(status, {}, NOW) for status in (200, 202, 204)] == [None] * 3
    assert all(classify(int(code.removeprefix("http_")), {}, NOW) for code in ANSWERS)
