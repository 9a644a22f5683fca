"""Takes the pictures in docs/images: the console after a short play with it, and a message on each channel."""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, ViewportSize

from local.deploy import ROOT
from tests.e2e import browser as browsers
from tests.e2e.bot import Bot
from tests.e2e.runner import Runner
from tests.e2e.test_console import Scheme, press, reads, request, send, switch
from tests.e2e.test_take import links

PICTURES: dict[str, Scheme] = {"console.png": "light", "console-dark.png": "dark"}
IMAGES = ROOT / "docs" / "images"
# All of the page: a frame that is out of sight is not painted.
SIZE: ViewportSize = {"width": 1280, "height": 2480}
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
    """Play, and take them."""
    IMAGES.mkdir(exist_ok=True)
    with browsers.running() as browser:
        with tempfile.TemporaryDirectory() as directory:
            runner = Runner(Path(directory))
            try:
                console_url = runner.running()["console_url"]
                runner.said("Ctrl-C stops it.")
                take(browser, console_url)
            finally:
                runner.close()
        with tempfile.TemporaryDirectory() as directory:
            runner = Runner(Path(directory), context={"routes": ROUTES})
            try:
                take_messages(browser, runner.running())
            finally:
                runner.close()


def take(browser: Browser, console_url: str) -> None:
    """What is pictured: a delivery that is taken, a fallback, a dead letter and a retry."""
    page = opened(browser, console_url)
    taken = send(page, "sales", "A customer asks for a quote for 40 seats.")
    press(page, "ben", "I'll take it", taken)
    request(page, taken).locator(".taken").wait_for()
    switch(page, "Slack", "refusing")
    reads(page, send(page, "sales", "Does the *team* plan include support?"), "delivered")
    switch(page, "Email", "refusing")
    reads(page, send(page, "pricing", "What does the yearly plan cost?"), "failed")
    switch(page, "Email", "fine")
    switch(page, "Slack", "failing")
    retried = send(page, "sales", "Can someone call me back today?")
    reads(page, retried, "retrying")
    request(page, retried).locator("summary").click()
    page.locator("#letters > tr").first.wait_for()
    page.frame_locator("#body").get_by_text("Does the").first.wait_for()
    page.evaluate("document.activeElement.blur()")
    for name, scheme in PICTURES.items():
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=IMAGES / name)


def take_messages(browser: Browser, stack: dict[str, Any]) -> None:
    """One request on each channel, and three that Slack gets together."""
    bot, page = Bot(stack), opened(browser, stack["console_url"])
    page.evaluate("for (const pane of document.querySelectorAll('.pane')) pane.style.maxHeight = 'none'")
    for topic in ("sales", "support"):
        bot.until_status(asked(bot, topic, SAID), "delivered")
        message = page.locator(f"#{CHANNELS[topic]} > li").filter(has_text="Anna Example")
        message.screenshot(path=IMAGES / f"{CHANNELS[topic]}.png")
        if topic == "sales":
            message.get_by_role("button", name="I'll take it").click()
            message.get_by_text("Taken by @anna").wait_for()
            message.screenshot(path=IMAGES / "slack-taken.png")
    page.get_by_role("switch", name="Stream producer runs").uncheck()
    page.get_by_text("The stream producer is stopped.").wait_for()
    together = [asked(bot, "sales", said) for said in (*OTHERS, SAID)]
    page.get_by_role("switch", name="Stream producer runs").check()
    for request_id in together:
        bot.until_status(request_id, "delivered")
    press(page, "anna", "I'll take it", together[1])
    digest = page.locator("#slack > li").filter(has_text="3 new requests")
    digest.get_by_text("Taken by @anna").wait_for()
    digest.screenshot(path=IMAGES / "slack-digest.png")
    mailed = asked(bot, "pricing", SAID)
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


def asked(bot: Bot, topic: str, said: dict[str, Any]) -> str:
    """The id of a request that a bot has made."""
    return str(bot.call("POST", "/assistance-requests", {"topic": topic, **said}).json["id"])


def opened(browser: Browser, console_url: str) -> Page:
    """The console."""
    page = browser.new_page(viewport=SIZE, device_scale_factor=1, reduced_motion="reduce")
    page.set_default_timeout(60_000)
    page.goto(console_url)
    page.get_by_text("Live", exact=True).wait_for()
    return page


if __name__ == "__main__":
    main()
