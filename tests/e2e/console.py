"""Helpers that open the console in a real browser, and act and read there like a person."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from local.deploy import ROOT
from tests.e2e.bot import Bot

Motion = Literal["no-preference", "reduce"]
Scheme = Literal["light", "dark"]
ARRIVAL_MS: Final = 60_000
# Long, since the machine may be busy and no test measures how soon something appears.
expect.set_options(timeout=ARRIVAL_MS)
LAPTOP: Final[ViewportSize] = {"width": 1280, "height": 800}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
SIZES: Final = {"laptop": LAPTOP, "phone": PHONE}
WCAG: Final = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "iframes": False,
}
# https://github.com/dequelabs/axe-core/blob/develop/doc/rule-descriptions.md
COLOURS: Final = {
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
    "iframes": False,
}


@contextmanager
def opened(
    browser: Browser,
    address: str,
    size: ViewportSize = LAPTOP,
    motion: Motion = "no-preference",
) -> Iterator[Page]:
    """The console's page. The test fails if the page has script errors or violates its content security policy."""
    context = browser.new_context(viewport=size, reduced_motion=motion)
    context.set_default_timeout(ARRIVAL_MS)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.get_by_text("Live", exact=True).wait_for()
    try:
        yield page
    finally:
        context.close()
    assert problems == []


@contextmanager
def console_of(stack: Mapping[str, Any], *options: str) -> Iterator[str]:
    """The URL of `assistance console` for the running local stack, which the console regards as a deployed one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ASSISTANCE_"))}
    environment |= {name.upper(): value for name, value in stack["credentials"].items()}
    environment |= {"AWS_ENDPOINT_URL": stack["aws_endpoint_url"], "AWS_REGION": stack["region"]}
    environment |= {"NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": f"{ROOT / 'functions'}"}
    command = [sys.executable, "-m", "cli", "--stack", stack["stack_name"], "console", *options]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def repair(bot: Bot) -> None:
    """End every fault, and start everything that was stopped."""
    for channel in ("slack", "email"):
        bot.console("POST", "/api/fault", {"channel": channel, "kind": "fine"})
    for name in ("producer", "reconciler"):
        bot.console("POST", f"/api/{name}", {"on": True})


def switch(page: Page, title: str, how: str) -> None:
    page.get_by_label(f"{title} is").select_option(how)
    page.get_by_text(f"{title} is {how} now.", exact=True).wait_for()


def runs(page: Page, name: str, *, on: bool) -> None:
    page.get_by_role("switch", name=f"{name} runs").set_checked(on)
    page.get_by_text(f"The {name.lower()} {'runs' if on else 'is stopped'}.", exact=True).wait_for()


def panel(page: Page, name: str) -> None:
    """Show a panel of the console, if the window is too small to show all panels at once."""
    tab = page.locator("#panels").get_by_role("button", name=re.compile(f"^{name}"))
    if tab.is_visible():
        tab.click()


def pane(page: Page, name: str) -> None:
    """Show the tab of a channel, or the tab of the dead letters."""
    panel(page, "Dead letters" if name == "Dead letters" else "Received")
    tab = page.locator("#tabs").get_by_role("button", name=re.compile(f"^{name}"))
    if tab.is_visible():
        tab.click()


def send(page: Page, topic: str, description: str) -> str:
    """Send a request with the console's form, and return the id of the accepted request."""
    panel(page, "Send")
    page.get_by_role("radio", name=re.compile(topic)).check()
    page.get_by_label("Description").fill(description)
    before = page.locator("#sent").inner_text()
    page.get_by_role("button", name="Send", exact=True).and_(page.locator("#send-button")).click()
    return accepted(page, before)


def accepted(page: Page, before: str = "") -> str:
    said = page.locator("#sent")
    expect(said).not_to_have_text(before)
    expect(said).to_have_text(re.compile("^202 Accepted: .{36}"), timeout=ARRIVAL_MS)
    return said.inner_text().removeprefix("202 Accepted: ")


def row(page: Page, request_id: str) -> Locator:
    """The row of the request in the console's list."""
    return page.locator(f"#requests a[href='/requests/{request_id}']")


def reads(page: Page, request_id: str, status: str) -> None:
    expect(row(page, request_id).locator(".badge")).to_have_text(status, timeout=ARRIVAL_MS)


def open_request(page: Page, request_id: str) -> Locator:
    """Open the console's view of the request."""
    panel(page, "Requests")
    row(page, request_id).click()
    view = page.locator("#request-view")
    view.get_by_text(request_id).first.wait_for()
    return view


def message(page: Page, request_id: str) -> Locator:
    """The Slack message of the request in the console, after it has arrived."""
    found = page.locator("#slack > li").filter(has_text=request_id)
    found.wait_for(state="attached")
    return found


def press(page: Page, user: str, button: str, request_id: str) -> None:
    pane(page, "Slack")
    page.get_by_label("Click buttons as").fill(user)
    of_request = page.locator(f"[value^='{request_id}']")
    message(page, request_id).get_by_role("button", name=button).and_(of_request).click()


def letters(page: Page, description: str) -> Locator:
    """The dead letters in the console of requests with that description."""
    return page.locator("#letters > li").filter(has_text=description)


def check_accessibility(page: Page) -> None:
    _check(page, WCAG)


def check_accessibility_light_and_dark(page: Page) -> None:
    """Check the page in both colour schemes: in the dark one only the rules on colour, which alone may differ."""
    _check(page, WCAG)
    page.emulate_media(color_scheme="dark")
    _check(page, COLOURS)
    page.emulate_media(color_scheme="light")


def _check(page: Page, rules: Mapping[str, Any]) -> None:
    found = Axe().run(page, options=rules)
    assert found.violations_count == 0, found.generate_report()


def fits(page: Page) -> None:
    """Check that the page itself need not be scrolled. Panels may scroll."""
    size = page.viewport_size
    assert size
    scrolled = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight, scrollY]")
    assert scrolled == [size["width"], size["height"], 0]
    assert page.locator("#way").bounding_box()["height"] <= 260  # type: ignore[index] # it is on the page
