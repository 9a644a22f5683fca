"""Tests in a real browser that a person takes a request by the link in a mail."""

import re
from collections.abc import Iterator
from typing import Literal, get_args

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from local import http
from tests.e2e.bot import Bot

Scheme = Literal["light", "dark"]
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def mailed(bot: Bot) -> tuple[str, str]:
    """A request's id, and the take link in its mail."""
    asked = bot.call("POST", "/assistance-requests", {"topic": "pricing", "description": "CANARY"})
    request_id = str(asked.json["id"])
    bot.until_status(request_id, "delivered")
    [link] = set(re.findall(r'http://127[^"]*/take/[\w-]+', bot.mails(request_id)[0]["BodyHtml"]))
    return request_id, link


def opened(browser: Browser, link: str, scheme: Scheme = "light") -> Iterator[Page]:
    """The take page behind the link. The test fails if the page violates its content security policy."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 700})
    page, problems = context.new_page(), list[str]()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(link)
    try:
        yield page
    finally:
        context.close()
    assert problems == []


def check_accessibility(page: Page) -> None:
    # The page's content security policy allows no script, so axe checks a copy of the page.
    copy = page.context.new_page()
    copy.set_content(page.content())
    found = Axe().run(copy, options=WCAG)
    copy.close()
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_a_request_can_be_taken_with_the_keyboard_and_the_next_person_sees_who_has_taken_it(
    browser: Browser, bot: Bot, scheme: Scheme
) -> None:
    request_id, link = mailed(bot)
    for page in opened(browser, link, scheme):
        expect(page.get_by_role("heading", name="Pricing request")).to_be_visible()
        background = page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(35, 39, 46)"}[scheme], "the style applies"
        check_accessibility(page)
        assert "taken" not in bot.call("GET", f"/assistance-requests/{request_id}").json
        page.keyboard.press("Tab")
        expect(page.get_by_label("Your name")).to_be_focused()
        page.keyboard.type("Anna <b>K</b>")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("You have it")
        check_accessibility(page)
        page.reload()
        expect(page.get_by_role("status")).to_contain_text("You have it")
    for page in opened(browser, link, scheme):
        expect(page.get_by_role("status")).to_contain_text("Taken by Anna <b>K</b>, since")
        expect(page.get_by_role("button")).to_have_count(0)
        check_accessibility(page)
    taken = bot.call("GET", f"/assistance-requests/{request_id}").json["taken"]
    assert (taken["by"], taken["via"]) == ("Anna <b>K</b>", "email")


def test_the_take_link_of_a_mail_shown_by_the_console_opens_in_another_tab(browser: Browser, bot: Bot) -> None:
    request_id, link = mailed(bot)
    message_id = bot.mails(request_id)[0]["MessageId"]
    context = browser.new_context()
    page = context.new_page()
    page.goto(bot.stack["console_url"].partition("#")[0] + f"mail/{message_id}")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="I'll take it").click()
    expect(popup.value.get_by_role("button", name="I'll take it")).to_be_visible()
    assert popup.value.url == link
    context.close()


def test_a_web_page_of_another_site_cannot_take_a_request(browser: Browser, bot: Bot) -> None:
    request_id, link = mailed(bot)
    context = browser.new_context()
    page = context.new_page()
    page.set_content(f'<form method="post" action="{link}"><button>win</button></form>')
    with page.expect_response(link) as answered:
        page.get_by_role("button").click()
    assert answered.value.status == 403
    context.close()
    assert "taken" not in bot.call("GET", f"/assistance-requests/{request_id}").json


def test_a_take_link_with_changed_characters_shows_no_request(bot: Bot) -> None:
    _, link = mailed(bot)
    other = link[:-2] + ("AA" if not link.endswith("AA") else "BB")
    answer = http.call("GET", other)
    assert (answer.status, b"It is incomplete, or it has expired" in answer.body) == (404, True)
