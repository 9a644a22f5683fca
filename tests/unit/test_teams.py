"""Tests the Teams cards, and the classification of responses of Teams."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assistance.domain.record import StandsInFor
from assistance.errors import DeliveryError, PermanentFailure, RateLimited, TransientFailure
from assistance.models import MAX_DESCRIPTION_CHARACTERS, AssistanceRequest, Customer, Detail, Outgoing
from assistance.routing import Channel
from assistance.text import printable
from teams_consumer.failures import ANSWERS, classify
from teams_consumer.message import MAX_BYTES, compose
from tests.sample_requests import ANNA, LONG_URL, REQUESTS, RESENT, WIDEST, fullest, request, to_send

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FUNCTION = re.compile(r"\{\{(DATE|TIME)\([^)]+\)")
REQUEST = AssistanceRequest(
    id="01900000-0000-7000-8000-000000000000",
    topic="by_all_means",
    description="help",
    created_at="2026-03-01T12:00:00.000Z",
)


def card(outgoing: Outgoing, take_url: str | None = None) -> dict[str, Any]:
    message = json.loads(compose(outgoing, take_url=take_url))
    [attachment] = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    content: dict[str, Any] = attachment["content"]
    assert (content["type"], content["version"]) == ("AdaptiveCard", "1.4")
    return content


def texts(outgoing: Outgoing) -> list[str]:
    """The card's texts except its facts and its time. Teams shows them without links and emphasis."""
    blocks = [it for it in card(outgoing)["body"] if it["type"] != "FactSet"]
    [moment] = [block["text"] for block in blocks if block["type"] != "RichTextBlock"]
    assert re.fullmatch(r"\{\{DATE\([-0-9T:]+Z, SHORT\)\}\}, \{\{TIME\([-0-9T:]+Z\)\}\}", moment)
    blocks = [block["inlines"] for block in blocks if block["type"] == "RichTextBlock"]
    assert all(run["type"] == "TextRun" and not FUNCTION.search(run["text"]) for runs in blocks for run in runs)
    return ["".join(run["text"] for run in runs) for runs in blocks]


def shown(outgoing: Outgoing) -> list[tuple[str, str]]:
    """The card's facts as CommonMark shows them: its inline rules, applied to the escaped text."""
    sets = [it["facts"] for it in card(outgoing)["body"] if it["type"] == "FactSet"]
    return [(rendered(it["title"]), rendered(it["value"])) for facts in sets for it in facts]


def rendered(markdown: str) -> str:
    if linked := re.fullmatch(r"\[(.*)\]\((mailto|tel):[^()\s]+\)", markdown):
        markdown = linked[1]
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_`\[\]<&~]", markdown), "an emphasis, a link, HTML or an entity"
    assert not re.match(r"(?:[-+]|\d{1,9}[.)])(?: |$)", markdown), "a list"
    return re.sub(r"\\(.)", r"\1", markdown)


def test_a_teams_card_shows_the_topic_the_reference_and_the_reason_of_a_fallback() -> None:
    instead = StandsInFor(Channel.SLACK, "is_archived")
    asked = REQUEST.model_copy(update={"reference": "chat-17"})
    title, *notes, description, small = texts(to_send(asked, cause=instead, **RESENT))
    assert (title, description) == ("New by all means request", "help")
    assert notes == [
        "Sent here because the Slack message could not be posted (is_archived).",
        "Sent again: an operator has asked for it.",
    ]
    assert small == f"{REQUEST.id} · Reference: chat-17"


@given(st.text(min_size=1))
@example("{{")
def test_a_teams_card_shows_the_customers_text_unchanged(text: str) -> None:
    for typed in (text, f"{text} **bold** [a](https://evil.example) <at>all</at>\n- item"):
        description = texts(to_send(request(typed)))[1]
        assert len(description) <= len(typed)
        assert [c for c in description if c.isprintable()] == [c for c in typed if c.isprintable()] or (
            "\ufffd" in description
        )
        asked = request(customer=Customer(name=typed), details=(Detail(label=typed, value=typed),))
        one_line = " ".join(printable(typed).split()) or "-"
        assert shown(to_send(asked)) == [("Name", one_line), (one_line, one_line)]
    assert "entities" not in card(to_send(request(text)))["msteams"]


@pytest.mark.parametrize(
    "hostile", ["**bold**", "[pay](https://evil.example)", "- a", "1. a", "12) a", "&lt;", "a_b_c", "\\*"]
)
def test_markdown_in_the_fact_set_of_a_teams_card_is_escaped(hostile: str) -> None:
    asked = request(customer=Customer(name=hostile, email=hostile, phone=hostile))
    assert shown(to_send(asked)) == [("Name", hostile), ("Email", hostile), ("Phone", hostile)]


def test_customer_data_is_shown_with_links_for_email_phone_and_conversation() -> None:
    asked = request(
        customer=ANNA, conversation_url="https://app.example.com/42", details=(Detail(label="Plan", value="Pro"),)
    )
    [facts] = [it["facts"] for it in card(to_send(asked))["body"] if it["type"] == "FactSet"]
    assert facts == [
        {"title": "Name", "value": "Anna Example"},
        {"title": "Email", "value": "[anna@example.org](mailto:anna@example.org)"},
        {"title": "Phone", "value": "[+49 30 1234567](tel:+49301234567)"},
        {"title": "Plan", "value": "Pro"},
    ]
    opens = {"type": "Action.OpenUrl", "title": "Open conversation", "url": "https://app.example.com/42"}
    assert card(to_send(asked))["actions"] == [opens]
    takes = {"type": "Action.OpenUrl", "title": "I'll take it", "url": "https://api.example.com/take?x=1"}
    assert card(to_send(asked), "https://api.example.com/take?x=1")["actions"] == [opens, takes]


def test_an_invalid_email_address_phone_number_or_url_is_shown_unchanged_and_without_a_link() -> None:
    customer = Customer(name="Anna", email="anna(at)example", phone="after 5 pm")
    outgoing = to_send(request(customer=customer, conversation_url="javascript:alert(1)"))
    assert [value for _, value in shown(outgoing)] == ["Anna", "anna(at)example", "after 5 pm", "javascript:alert(1)"]
    assert card(outgoing)["actions"] == []
    assert "](" not in json.dumps(card(outgoing))


@given(REQUESTS)
def test_any_request_fits_into_a_teams_card_with_its_complete_description(asked: AssistanceRequest) -> None:
    body = compose(to_send(asked), take_url="https://api.example.com/" + "t" * 300)
    assert len(body) < MAX_BYTES
    assert len(body.decode().encode("utf-16-le")) < MAX_BYTES
    assert printable(asked.description) in texts(to_send(asked))


@pytest.mark.parametrize("one", WIDEST)
def test_a_request_whose_fields_have_maximum_length_is_shown_completely_or_with_a_note_on_what_is_missing(
    one: str,
) -> None:
    longest = request(one * MAX_DESCRIPTION_CHARACTERS, **fullest(one, url=LONG_URL))
    assert len(compose(to_send(longest))) < MAX_BYTES
    assert printable(longest.description) in texts(to_send(longest))
    assert re.search("more characters|details: this message has no room", str(shown(to_send(longest))))
    assert [it["url"] for it in card(to_send(longest))["actions"]] == [LONG_URL]


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
def test_a_response_of_teams_is_classified_by_its_http_status(
    status: int, headers: dict[str, str], kind: type[DeliveryError], retry_after: float | None, *, in_doubt: bool | None
) -> None:
    failure = classify(status, headers, NOW)
    assert type(failure) is kind
    assert failure.code == f"http_{status}"
    if isinstance(failure, TransientFailure):
        assert (failure.retry_after, failure.in_doubt) == (retry_after, in_doubt)


def test_success_statuses_are_no_failures_and_the_listed_error_statuses_are_failures() -> None:
    assert [classify(status, {}, NOW) for status in (200, 202, 204)] == [None] * 3
    assert all(classify(int(code.removeprefix("http_")), {}, NOW) for code in ANSWERS)


@pytest.mark.parametrize("said", ["{{DATE(2026-01-01T00:00:00Z, SHORT)}}", "{{{TIME(2026-01-01T00:00:00Z)}}}"])
def test_a_teams_card_does_not_reformat_dates_in_the_customers_text(said: str) -> None:
    """Teams formats such functions in a text.

    https://learn.microsoft.com/adaptive-cards/authoring-cards/text-features#datetime-function-rules
    """
    asked = request(description=said, customer=Customer(name=said))
    by_customers = json.dumps([block for block in card(to_send(asked))["body"] if block["type"] != "TextBlock"])
    assert not re.search(r"\{\{(DATE|TIME)\(", by_customers)


def test_a_teams_card_with_as_many_date_functions_as_possible_is_small_enough_for_teams() -> None:
    said = "{{DATE(2026-01-31T09:30:00Z" * (MAX_DESCRIPTION_CHARACTERS // 27)
    outgoing = to_send(request(said, **fullest("{", url=LONG_URL)))
    body = compose(outgoing, take_url="https://api.example.com/" + "t" * 300)
    assert len(body.decode().encode("utf-16-le")) < MAX_BYTES
    assert said in texts(outgoing)
