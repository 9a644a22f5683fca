"""Tests the content of both parts of a mail, and who gets a reply to it."""

import html
import re
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given

from assistance import facts
from assistance.domain.record import StandsInFor
from assistance.models import AssistanceRequest, Customer, Detail, Outgoing
from assistance.routing import Channel
from assistance.text import printable
from email_consumer import message
from email_consumer.page import lines
from tests.sample_requests import ANNA, ID, LONG_URL, REQUESTS, RESENT, WIDEST, fullest, request, to_send

URL = "https://app.example.com/42?a=1&b=2"
DETAILS = (Detail(label="Plan", value="Pro & more"), Detail(label="Seats", value="12"))


def parts(outgoing: Outgoing, take_url: str | None = None) -> tuple[str, str, str]:
    """The subject, the text and the HTML of a mail."""
    simple = message.compose(outgoing, take_url=take_url)["Simple"]
    return simple["Subject"]["Data"], simple["Body"]["Text"]["Data"], simple["Body"]["Html"]["Data"]


def visible_text(page: str) -> str:
    """The text that Outlook shows. It ignores `white-space`: white space collapses, and only elements break lines."""
    body = re.sub(r"<style>.*?</style>|<title>.*?</title>", "", page, flags=re.DOTALL)
    text = re.sub(r"<(br|/p|/h2|/tr|/td|/table)\b[^>]*>", "\n", re.sub(r"\s+", " ", body))
    return html.unescape(re.sub(r"<[^>]+>", "", text)).replace("\xa0", " ")


@given(REQUESTS)
def test_the_text_part_and_the_html_part_of_a_mail_show_every_field_of_the_request(asked: AssistanceRequest) -> None:
    _, text, page = parts(to_send(asked))
    assert text.startswith(printable(asked.description))
    assert lines(printable(asked.description)) in page
    plain = " ".join(text.split())
    for detail in asked.details:
        for each in (printable(detail.label), printable(detail.value)):
            assert " ".join(each.split()) in plain
            assert lines(each.strip()) in page
    assert asked.id in text
    assert asked.id in page
    if url := asked.conversation_url:
        assert " ".join(printable(url).split()) in plain
        assert (html.escape(url) if facts.conversation(asked) else lines(printable(url))) in page


def test_a_text_in_arabic_runs_from_right_to_left() -> None:
    arabic, plan = "أريد عرض سعر.", Detail(label="الخطة", value="فضي.")
    _, _, page = parts(to_send(request(description=arabic, details=(plan,))))
    for text in (arabic, plan.label, plan.value):
        assert re.search(rf'<(p|td) dir="auto"[^>]*>{re.escape(text)}</\1>', page), text


@given(REQUESTS)
def test_customer_text_cannot_inject_a_mail_header(asked: AssistanceRequest) -> None:
    content = message.compose(to_send(asked))["Simple"]
    headers = {it["Name"]: it["Value"] for it in content["Headers"]} | {"Subject": content["Subject"]["Data"]}
    headers["Reply-To"] = ", ".join(message.reply_to(asked))
    assert len(headers["Subject"]) <= message.SUBJECT_CHARACTERS
    assert headers["Subject"].startswith("[Sales] ")
    mail = EmailMessage(policy=SMTP)
    for name, value in headers.items():
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", value)
        if name != "Subject":
            assert re.fullmatch(r"[ -~]{0,995}", value), "SES takes ASCII, and no more than that"
        mail[name] = value
    assert len(mail.keys()) == len(headers)


def test_the_subject_of_a_mail_shows_the_topic_and_the_beginning_of_the_description() -> None:
    subject, _, _ = parts(to_send(request("Does the yearly plan's discount\napply to seats that are added in March?")))
    assert subject == "[Sales] Does the yearly plan's discount apply to seats that…"
    assert parts(to_send(request("a\r\nBcc: b@example.org")))[0] == "[Sales] a Bcc: b@example.org"


@pytest.mark.parametrize(
    ("email", "answered"),
    [
        ("anna@example.org", ["anna@example.org"]),
        ("anna@example.org\nBcc: b@example.org", []),
        ("anna", []),
        (None, []),
    ],
)
def test_a_reply_to_a_mail_goes_to_the_customer_if_the_customers_address_is_valid(
    email: str | None, answered: list[str]
) -> None:
    assert message.reply_to(request(customer=Customer(email=email))) == answered
    assert message.reply_to(request()) == []


def test_mails_about_the_same_request_have_the_same_references_header() -> None:
    def references(outgoing: Outgoing) -> str:
        [header] = message.compose(outgoing)["Simple"]["Headers"]
        return f"{header['Name']}: {header['Value']}"

    assert references(to_send(request())) == f"References: <{ID}@assistance.invalid>"
    assert references(to_send(request())) == references(to_send(request(), **RESENT))
    assert references(to_send(request())) != references(to_send(request(id_=ID[:-1] + "1")))


def test_line_breaks_and_spaces_stay_visible_in_a_mail_without_the_css_property_white_space() -> None:
    _, _, page = parts(to_send(request("We need\n40 seats\n  SSO <and>  SCIM\n\tand more")))
    shown = visible_text(page).splitlines()
    assert shown[shown.index("We need") :][:4] == ["We need", "40 seats", "  SSO <and>  SCIM", "    and more"]
    assert "white-space" not in page


def test_a_mail_contains_links_only_for_valid_email_addresses_phone_numbers_and_urls() -> None:
    _, text, page = parts(to_send(request(customer=ANNA, conversation_url=URL, details=DETAILS, reference="chat-17")))
    assert re.findall('href="([^"]*)"', page) == [
        "mailto:anna@example.org", "tel:+49301234567", "https://app.example.com/42?a=1&amp;b=2",
    ]  # fmt: skip
    assert "Pro &amp; more" in page
    assert text == (
        "help\n\nName: Anna Example\nEmail: anna@example.org\nPhone: +49 30 1234567\nPlan: Pro & more\nSeats: 12\n\n"
        f"Open conversation: {URL}\n\n--\nRequest {ID}, 1 January 2026, 00:00 UTC\nReference: chat-17\n"
    )
    hostile = request(customer=Customer(email='a"onclick="x'), conversation_url='https://x/"><script>alert(1)</script>')
    _, _, page = parts(to_send(hostile))
    assert "href=" not in page
    assert "<script" not in page


def test_a_mail_shows_a_take_button_if_takes_are_on() -> None:
    _, text, page = parts(to_send(request()), "https://api.example.com/take/1?x=1&y=2")
    assert "I'll take it: https://api.example.com/take/1?x=1&y=2" in text
    assert 'href="https://api.example.com/take/1?x=1&amp;y=2"' in page


def test_a_fallback_mail_says_why_it_was_sent() -> None:
    outgoing = to_send(request(), cause=StandsInFor(Channel.SLACK, "is_archived"), **RESENT)
    for part in parts(outgoing)[1:]:
        assert "Sent here because the Slack message could not be posted (is_archived)." in html.unescape(part)
        assert "Sent again: an operator has asked for it." in part


@pytest.mark.parametrize("one", WIDEST)
def test_the_longest_mail_is_far_below_the_size_limit_of_ses(one: str) -> None:
    longest = request(one * 4_000, **fullest(one, url=LONG_URL))
    _, text, page = parts(to_send(longest))
    # https://docs.aws.amazon.com/ses/latest/dg/quotas.html: 40 MB, base64 included. Gmail cuts off at 102 KB of HTML.
    assert len(page.encode()) < 102_000
    assert len(text.encode()) < 102_000


def test_a_mail_uses_tables_and_supports_dark_mode_and_phones() -> None:
    _, _, page = parts(to_send(request(customer=ANNA)))
    assert '<meta name="color-scheme" content="light dark">' in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "prefers-color-scheme: dark" in page
    assert set(re.findall(r"<(div|pre|img|script)\b", page)) == set()
