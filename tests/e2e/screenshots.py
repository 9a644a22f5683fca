"""Takes the screenshots in docs/images: the console with several requests, and a message on each channel."""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, ViewportSize

from local.deploy import ROOT
from tests.e2e import browser as browsers
from tests.e2e.bot import Bot
from tests.e2e.console import (
    LAPTOP,
    PHONE,
    Scheme,
    console_of,
    letters,
    open_request,
    opened,
    pane,
    panel,
    press,
    reads,
    row,
    send,
)
from tests.e2e.console import switch as switched
from tests.e2e.runner import Runner
from tests.e2e.test_take import links

SCHEMES: Final[dict[str, Scheme]] = {"": "light", "-dark": "dark"}
IMAGES = ROOT / "docs" / "images"
# High enough for a whole message, since a screenshot shows only the visible part of a panel.
TALL: Final[ViewportSize] = {"width": 1500, "height": 1600}
CHANNELS: Final = {"sales": "slack", "pricing": "email", "support": "teams"}
ROUTES: Final = json.dumps({topic: {"channels": [channel], "fallback": None} for topic, channel in CHANNELS.items()})
MAILS: Final[dict[str, tuple[Scheme, int]]] = {
    "mail.png": ("light", 720), "mail-dark.png": ("dark", 720), "mail-phone.png": ("light", 375),
}  # fmt: skip
SAID: Final[dict[str, Any]] = {
    "description": "Does the *yearly* plan's discount apply to seats added in March? :)\nWe have 40 seats now.",
    "customer": {"name": "Anna Example", "email": "anna@example.org", "phone": "+49 30 1234567"},
    "conversation_url": "https://app.example.com/conversations/42",
    "reference": "chat-17",
    "details": {"Plan": "Pro", "Seats": 40, "Trial": False},
}
OTHERS: Final[list[dict[str, Any]]] = [
    {"description": "Can someone call me back today?", "customer": {"name": "Bert", "phone": "0171/1234567"}},
    {"description": "The invoice <of May> & its copy are wrong.", "customer": {"email": "anna(at)example"}},
]


def main() -> None:
    """Start a local stack, send requests, and take the screenshots."""
    IMAGES.mkdir(exist_ok=True)
    with browsers.running() as browser:
        with tempfile.TemporaryDirectory() as directory:
            runner = Runner(Path(directory))
            try:
                stack = runner.running()
                runner.wait_for_output("Ctrl-C stops the stack")
                fallback = take(browser, stack["console_url"])
                with console_of(stack) as address, opened(browser, address, motion="reduce") as page:
                    open_request(page, fallback)
                    letters(page, fallback).wait_for()
                    pictured(page, "console-deployed")
            finally:
                runner.close()
        with tempfile.TemporaryDirectory() as directory:
            runner = Runner(Path(directory), context={"routes": ROUTES})
            try:
                take_messages(browser, runner.running())
            finally:
                runner.close()


def take(browser: Browser, console_url: str) -> str:
    """Take screenshots of the console with requests: taken, delivered by the fallback, dead, retried and unpublished.

    Returns the id of the request that its fallback delivered.
    """
    with opened(browser, console_url, motion="reduce") as page:
        taken = send(page, "sales", "A customer asks for a quote for 40 seats.")
        press(page, "ben", "I'll take it", taken)
        row(page, taken).locator(".taken").wait_for()
        switched(page, "Slack", "refusing")
        fallback = send(page, "sales", "Does the *team* plan include support?")
        reads(page, fallback, "delivered")
        switched(page, "Email", "refusing")
        reads(page, send(page, "pricing", "What does the yearly plan cost?"), "failed")
        switched(page, "Email", "fine")
        switched(page, "Slack", "failing")
        reads(page, send(page, "sales", "Can someone call me back today?"), "retrying")
        page.locator("#producer").click()
        page.get_by_text("The producer is stopped.").wait_for()
        send(page, "pricing", "Is there a discount for schools?")
        page.locator("#slow").uncheck()
        page.get_by_text("1 waiting").first.wait_for()
        pictured(page, "console")
        pane(page, "Dead letters")
        letters(page, "Does the").first.wait_for()
        open_request(page, fallback)
        pictured(page, "console-request")
        page.set_viewport_size(PHONE)
        page.get_by_role("link", name="Back to the list").click()
        panel(page, "Send")
        pictured(page, "console-phone")
        panel(page, "Dead letters")
        pictured(page, "console-phone-dead")
        page.set_viewport_size(LAPTOP)
        page.locator("#producer").click()
        return fallback


def pictured(page: Page, name: str) -> None:
    """Take the screenshot in the light and in the dark colour scheme."""
    page.evaluate("document.activeElement.blur()")
    for suffix, scheme in SCHEMES.items():
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=IMAGES / f"{name}{suffix}.png")
    page.emulate_media(color_scheme="light")


def take_messages(browser: Browser, stack: dict[str, Any]) -> None:
    """Send a request on each channel, and three that Slack shows in one digest, and take their screenshots."""
    with opened(browser, stack["console_url"], TALL, motion="reduce") as page:
        page.get_by_role("button", name="Close the guide").click()
        take_posts(Bot(stack), page)
    take_mails(Bot(stack), browser)


def take_posts(bot: Bot, page: Page) -> None:
    """Take the screenshots of the messages in Slack and Teams."""
    for topic in ("sales", "support"):
        bot.until_status(send_request(bot, topic, SAID), "delivered")
        pane(page, CHANNELS[topic].capitalize())
        message = page.locator(f"#pane-{CHANNELS[topic]} li").filter(has_text="Anna Example")
        message.screenshot(path=IMAGES / f"{CHANNELS[topic]}.png")
        if topic == "sales":
            message.get_by_role("button", name="I'll take it").click()
            message.get_by_text("Taken by @anna").wait_for()
            message.screenshot(path=IMAGES / "slack-taken.png")
    page.get_by_role("switch", name="Producer runs").uncheck()
    page.get_by_text("The producer is stopped.").wait_for()
    together = [send_request(bot, "sales", members) for members in (*OTHERS, SAID)]
    page.get_by_role("switch", name="Producer runs").check()
    for request_id in together:
        bot.until_status(request_id, "delivered")
    press(page, "anna", "I'll take it", together[1])
    digest = page.locator("#slack > li").filter(has_text="3 new sales requests")
    digest.get_by_text("Taken by @anna").wait_for()
    digest.screenshot(path=IMAGES / "slack-digest.png")


def take_mails(bot: Bot, browser: Browser) -> None:
    """Take the screenshots of a mail, as mail programs show it, and of the take page behind its link."""
    mailed = send_request(bot, "pricing", SAID)
    bot.until_status(mailed, "delivered")
    [mail] = bot.mails(mailed)
    for name, (scheme, width) in MAILS.items():
        reader = browser.new_page(viewport={"width": width, "height": 200}, color_scheme=scheme)
        reader.set_content(mail["BodyHtml"])
        reader.screenshot(path=IMAGES / name, full_page=True)
        reader.close()
    reader = browser.new_page(viewport={"width": 560, "height": 200})
    reader.goto(links(mail["BodyHtml"])[0])
    reader.screenshot(path=IMAGES / "take-page.png", full_page=True)
    reader.get_by_label("Your name").fill("Anna")
    reader.get_by_role("button", name="I'll take it").click()
    reader.get_by_text("You have it").wait_for()
    reader.screenshot(path=IMAGES / "take-page-taken.png", full_page=True)
    reader.close()


def send_request(bot: Bot, topic: str, members: dict[str, Any]) -> str:
    """Send a request as a bot does, and return its id."""
    return str(bot.call("POST", "/assistance-requests", {"topic": topic, **members}).json["id"])


if __name__ == "__main__":
    main()
